"""One dataclass a step: what the step needs, all of it."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from .. import CONTRACT_VERSION, pod
from ..json_text import additions
from .parts import CheckpointPolicy, Continuation, Input, Location, PlannerChoice, PretrainedWeights, PreviousStage, TrainerChoice


def default(kind: type, field_name: str) -> Any:
    """What the absence of a field means, for the API to have the same default.

    Raises:
        KeyError: there is no such field, or it has no default.
    """
    defaults = {item.name: item.default for item in fields(kind) if item.default is not MISSING}
    return defaults[field_name]


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
