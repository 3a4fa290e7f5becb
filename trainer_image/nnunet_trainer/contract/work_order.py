"""What one Job is to do, frozen in a ConfigMap when the Job is made.

Defaults stand here alone: the API takes those of its fields from here (`default`), and an order that lacks a field means
its default. What a later version adds is declared by `contract.additions`.

Every URI comes with the way to reach it (`Location`), so that a dataset, plans and a checkpoint may lie in three
buckets with three Secrets. A work order holds no credential: it names a Secret, and the pod mounts it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import MISSING, dataclass, field, fields
from importlib import metadata
from typing import Any, Literal

from . import CONTRACT_VERSION, additions, codec, pod
from .faults import BadUsage

log = logging.getLogger(__name__)

REQUIRES = "requires"
"""The key of what an order asks for that an earlier trainer must not skip: `{"path.of.field": "first version that knows it"}`."""


def default(kind: type, field_name: str) -> Any:
    """What the absence of a field means, for the API to have the same default.

    Raises:
        KeyError: there is no such field, or it has no default.
    """
    defaults = {item.name: item.default for item in fields(kind) if item.default is not MISSING}
    return defaults[field_name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A URI (`s3://bucket/prefix`, `file:///path`, `pvc://claim/path`) and how to reach it.

    `secret_name` and `ca_config_map` are folders below the pod's mounts (`contract.pod`); no Secret means the pod's own identity.
    """

    uri: str
    endpoint: str | None = None
    region: str | None = None
    path_style: bool | None = None
    secret_name: str | None = None
    ca_config_map: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """An artifact that another step made: where it lies and the digest of what it was made from."""

    location: Location
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetOrder:
    """Verify the raw data, take its digest, extract the fingerprint, write the splits."""

    name: str  # DatasetXXX_Name
    source: Location
    storage: Location
    layout: Literal["nnUNetV2", "MSD"] = "nnUNetV2"
    extractor: str = "DatasetFingerprintExtractor"
    group_by: str | None = None
    extractor_parameters: dict[str, Any] = additions.added("0.2.0", default_factory=dict)
    plugins: list[str] = additions.added("0.2.0", default_factory=list)
    plugin_digests: dict[str, str] = additions.added("0.2.0", default_factory=dict, skippable=True)
    step: Literal["dataset"] = "dataset"
    version: int = CONTRACT_VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannerChoice:
    """Which planner, and what was changed about it."""

    name: str = "ExperimentPlanner"
    gpu_memory_gb: float | None = None
    target_spacing: list[float] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    # Measure its references on the device at hand before planning; the GPU's memory is what is planned for, unless it is said.
    calibrate: bool = additions.added("0.2.0", default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanOrder:
    """Plan experiments for a dataset from its fingerprint."""

    dataset_name: str
    dataset: Input
    source: Location  # of the raw data: the first image decides the reader
    storage: Location
    planner: PlannerChoice = field(default_factory=PlannerChoice)
    per_configuration: dict[str, PlannerChoice] = field(default_factory=dict)
    plans_name: str | None = None
    patch: dict[str, Any] = field(default_factory=dict)
    layout: Literal["nnUNetV2", "MSD"] = default(DatasetOrder, "layout")
    plugins: list[str] = additions.added("0.2.0", default_factory=list)
    plugin_digests: dict[str, str] = additions.added("0.2.0", default_factory=dict, skippable=True)
    step: Literal["plan"] = "plan"
    version: int = CONTRACT_VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferOrder:
    """Make another dataset's plans fit this one (nnUNetv2_move_plans_between_datasets)."""

    from_plans: Input
    from_dataset: Input  # for the compatibility report
    dataset_name: str
    dataset: Input
    source: Location
    storage: Location
    plans_name: str
    normalization: Literal["Transfer", "Recompute"] = "Transfer"
    intensity_properties: Literal["Transfer", "Recompute"] = "Transfer"
    on_mismatch: Literal["Warn", "Fail"] = "Warn"
    patch: dict[str, Any] = field(default_factory=dict)
    layout: Literal["nnUNetV2", "MSD"] = default(DatasetOrder, "layout")
    plugins: list[str] = additions.added("0.2.0", default_factory=list)
    plugin_digests: dict[str, str] = additions.added("0.2.0", default_factory=dict, skippable=True)
    step: Literal["transfer"] = "transfer"
    version: int = CONTRACT_VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessOrder:
    """Preprocess a dataset for one configuration of its plans. The pod's completion index is its shard."""

    dataset_name: str
    dataset: Input
    source: Location
    plans: Input
    configuration: str
    storage: Location
    shards: int = 1
    layout: Literal["nnUNetV2", "MSD"] = default(DatasetOrder, "layout")
    plugins: list[str] = additions.added("0.2.0", default_factory=list)
    plugin_digests: dict[str, str] = additions.added("0.2.0", default_factory=dict, skippable=True)
    step: Literal["preprocess"] = "preprocess"
    version: int = CONTRACT_VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerChoice:
    """A trainer by name; with a recipe it is a new name, and `base` says of what."""

    name: str = "nnUNetTrainer"
    base: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedPolicies:
    """What becomes of pretrained weights that do not fit as they are. The defaults are nnU-Net's. They decide a run's result.

    `input_channels`: of a stem for another number of channels. `heads`: of the segmentation layers. `mismatched`: of any other
    tensor that has another shape, or that the file does not have.
    """

    input_channels: Literal["Match", "Repeat", "Average", "Reinitialize"] = "Match"
    heads: Literal["Reinitialize", "MatchByLabel"] = "Reinitialize"
    mismatched: Literal["Fail", "Skip"] = "Fail"


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedWeights:
    """A checkpoint file whose weights start this run."""

    location: Location
    sha256: str | None = None  # known when a run of ours wrote it
    policies: PretrainedPolicies = field(default_factory=PretrainedPolicies)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousStage:
    """The run whose final validation predicted what the second stage of a cascade has as an input: each fold's artifact."""

    run: str
    folds: dict[str, Input]


@dataclass(frozen=True, kw_only=True, slots=True)
class Continuation:
    """A finished fold of another run that this training goes on from: its weights, optimizer, history and epochs.

    `digest` is that run's, the same for all of its folds. `schedule`: what the learning rate, and all else that changes over the
    epochs, does from there on. Stretch: as if all epochs had been planned from the start. Restart: as in a training of the
    additional epochs alone.
    """

    run: str
    location: Location
    digest: str
    additional_epochs: int
    schedule: Literal["Stretch", "Restart"]
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointPolicy:
    """How often a checkpoint is written, and how many are kept."""

    every_epochs: int = 1
    every_minutes: float = 10
    keep: int = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOrder:
    """Train one fold, go on from the newest valid checkpoint of any attempt, validate."""

    namespace: str
    run: str
    dataset_name: str
    preprocessed: Input
    plans: Input
    configuration: str
    fold: str  # "0" … or "all"
    seed: int
    storage: Location
    trainer: TrainerChoice = field(default_factory=TrainerChoice)
    pretrained: PretrainedWeights | None = None
    previous_stage: PreviousStage | None = None
    checkpoint: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    validation: Literal["Run", "Skip"] = "Run"
    deterministic: bool = False
    attempt: int = 0
    nodes: int = 1
    gpus_per_node: int = 1  # 0: one process on the CPU
    plugins: list[str] = field(default_factory=list)
    # Of each, when the order was written: another is refused (`contract.plugins.digest`). Absent: whatever is mounted.
    plugin_digests: dict[str, str] = additions.added("0.2.0", default_factory=dict, skippable=True)
    rendezvous_deadline_seconds: int = additions.added("0.2.0", default=pod.RENDEZVOUS_SECONDS, skippable=True)
    # The uid of the TrainingRun, noted beside its results; "": of an operator before 0.2.0, or by hand.
    owner: str = additions.added("0.2.0", default="", skippable=True)
    continues: Continuation | None = additions.added("0.2.0", default=None)
    step: Literal["train"] = "train"
    version: int = CONTRACT_VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteResultsOrder:
    """Delete what a TrainingRun has left in its storage, and nothing that another object may have a share in."""

    namespace: str
    run: str
    owner: str  # the TrainingRun's uid
    storage: Location
    step: Literal["delete_results"] = "delete_results"
    version: int = CONTRACT_VERSION


WorkOrder = DatasetOrder | PlanOrder | TransferOrder | PreprocessOrder | TrainOrder | DeleteResultsOrder

ORDERS: dict[str, type] = {
    "dataset": DatasetOrder,
    "plan": PlanOrder,
    "transfer": TransferOrder,
    "preprocess": PreprocessOrder,
    "train": TrainOrder,
    "delete_results": DeleteResultsOrder,
}


def encode(order: WorkOrder) -> str:
    """A work order as JSON, the same text for the same order, without what is at its default."""
    content = codec.to_plain(order, sparse=True) | {"step": order.step, "version": order.version}
    if required := additions.requirements(order):
        content[REQUIRES] = required
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def decode(text: str) -> WorkOrder:
    """Read a work order, which may be another version's: what is not known and not required is skipped, and logged.

    Raises:
        BadUsage: not a work order, one of another contract version, or one that requires what this trainer does not know.
    """
    hint = "Use a trainer image of the operator's own version (spec.template.image)."
    try:
        head = codec.loads(dict[str, Any], text)
    except codec.CodecError as error:
        raise BadUsage("InvalidWorkOrder", f"The work order cannot be read: {error}.") from error
    if head.get("version") != CONTRACT_VERSION:
        found, wanted = head.get("version"), CONTRACT_VERSION
        raise BadUsage(
            "ContractMismatch", f"The work order is of contract version {found}, this trainer knows {wanted}.", hint=hint
        )
    if head.get("step") not in ORDERS:
        raise BadUsage("InvalidWorkOrder", f"The work order's step is {head.get('step')!r}; known: {', '.join(ORDERS)}.", hint=hint)
    skipped: list[str] = []
    required: dict[str, str] = {}
    try:
        required = codec.from_plain(dict[str, str], head.pop(REQUIRES, {}))
        order: WorkOrder = codec.from_plain(ORDERS[head["step"]], head, skipped)
    except codec.CodecError as error:
        if unmet := additions.unmet(required, [error.path]):
            raise _too_old(unmet, required) from error
        raise BadUsage("InvalidWorkOrder", f"The work order cannot be read: {error}.", hint=hint) from error
    if unmet := additions.unmet(required, skipped):
        raise _too_old(unmet, required)
    if skipped:
        log.warning("the work order says what this trainer does not know; it is skipped: %s", ", ".join(skipped))
    return order


def _too_old(unmet: dict[str, str], required: dict[str, str]) -> BadUsage:
    needed, own = additions.newest(required.values()), metadata.version("nnunet-operator")
    return BadUsage(
        "TrainerTooOld",
        f"The work order asks for {', '.join(sorted(unmet))}, which this trainer ({own}) does not know.",
        hint=f"Use a trainer image of version {needed} or newer (spec.template.image), or leave that out of the spec.",
    )
