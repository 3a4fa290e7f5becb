"""TrainingRun: one trainer, one configuration, some folds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from nnunet_trainer.contract.work_order import CheckpointPolicy, TrainerChoice, TrainOrder, default
from pydantic import Field

from .base import FreeForm, Resource, Rule, Seconds, SpecModel, StatusModel, Time, fixed
from .common import CommonSpec, CommonStatus, LocationStatus, Reference, WorkStatus
from .fields.int_or_string import Fold, Minutes
from .fields.names import Component, Configuration, no_separator
from .fields.plugins import Plugins
from .placement import LabelName
from .starting_point import (
    ANOTHER,
    ContinuedStatus,
    ContinuesSpec,
    InputStatus,
    PretrainedSpec,
    PretrainedStatus,
    PreviousStageSpec,
)


class TrainerSpec(SpecModel):
    """A trainer by name. A recipe changes a trainer: then the name is new, and `base` says of what."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!has(self.recipe) || has(self.base)", "a recipe needs a base: the trainer that it changes", "base"),
        Rule("!has(self.base) || has(self.recipe)", "a base needs a recipe: what is changed about it", "recipe"),
        Rule("!has(self.base) || self.base != self.name", "must be a new name: a recipe does not replace its base", "name"),
        no_separator("name"),
    )
    name: Component = default(TrainerChoice, "name")
    base: Component | None = None
    recipe: FreeForm | None = None


class WorkersSpec(SpecModel):
    """How many nodes and GPUs train one fold."""

    nodes: Annotated[int, Field(ge=1, le=256)] = default(TrainOrder, "nodes")
    gpus_per_node: Annotated[int, Field(ge=0, le=64, description="0: on the CPU.")] = default(TrainOrder, "gpus_per_node")
    gpu_resource_name: Annotated[
        str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    ] = "nvidia.com/gpu"
    rendezvous_deadline_seconds: Annotated[
        int, Field(ge=1, le=86_400, description="How long the ranks wait for each other at the start.")
    ] = default(TrainOrder, "rendezvous_deadline_seconds")
    gpu_resource_claim: Annotated[
        LabelName | None,
        Field(description="One of template.resourceClaims, by which a pod gets its GPUs; gpuResourceName is not asked for then."),
    ] = None


class CheckpointSpec(SpecModel):
    """How often a checkpoint is written, and how many are kept."""

    every_epochs: Annotated[int, Field(ge=1, le=100_000)] = default(CheckpointPolicy, "every_epochs")
    every_minutes: Annotated[Minutes, Field(description='A fraction as a string: "0.5".')] = default(
        CheckpointPolicy, "every_minutes"
    )
    keep: Annotated[int, Field(ge=1, le=1000)] = default(CheckpointPolicy, "keep")


class TrainingRunSpec(CommonSpec):
    """What to train, on which folds, from which weights, by which workers."""

    rules: ClassVar[tuple[Rule, ...]] = (
        no_separator("configuration"),
        fixed("plansRef", ANOTHER),
        fixed("configuration", ANOTHER),
        Rule(
            "oldSelf.folds.all(f, self.folds.exists(g, string(g) == string(f)))",
            "can be added to, not taken from: a run of other folds is another TrainingRun",
            "folds",
        ),
        Rule("self.folds.all(f, self.folds.exists_one(g, string(g) == string(f)))", "must name each fold once", "folds"),
        fixed("trainer", ANOTHER),
        fixed("previousStage", ANOTHER, optional=True),
        fixed("continues", ANOTHER, optional=True),
        fixed("seed", ANOTHER, optional=True),
        fixed("deterministic", ANOTHER),
        fixed("validation", ANOTHER, optional=True),
        fixed("plugins", ANOTHER, optional=True),
        Rule(
            "has(self.pretrained) == has(oldSelf.pretrained)",
            "cannot be added or removed: create another TrainingRun",
            "pretrained",
        ),
        Rule(
            "!has(self.continues) || !has(self.pretrained)",
            "continues and pretrained exclude each other: both say what the weights begin as",
        ),
        Rule("!('all' in self.folds) || size(self.folds) == 1", "fold all stands alone: train it in a run of its own", "folds"),
        Rule(
            "!('all' in self.folds) || !has(self.validation) || self.validation != 'Run'",
            "fold all has no cases left to validate on: leave validation out, or set it to Skip",
            "validation",
        ),
        Rule(
            "!has(self.workers.gpuResourceClaim) || (has(self.template) && has(self.template.resourceClaims) && "
            "self.template.resourceClaims.exists(c, c.name == self.workers.gpuResourceClaim))",
            "must be the name of one of template.resourceClaims",
            "workers.gpuResourceClaim",
        ),
    )
    plans_ref: Reference
    configuration: Configuration = "3d_fullres"
    folds: Annotated[
        list[Fold],
        Field(
            min_length=1,
            max_length=100,
            json_schema_extra={"x-kubernetes-list-type": "set"},
            description='0 … or "all". Folds may be added later, not taken away.',
        ),
    ]
    trainer: TrainerSpec = TrainerSpec()
    pretrained: PretrainedSpec | None = None
    continues: Annotated[
        ContinuesSpec | None, Field(description="Train a finished run for more epochs, with its optimizer and history.")
    ] = None
    previous_stage: Annotated[
        PreviousStageSpec | None,
        Field(description="Needed exactly when the configuration has a previous stage, as 3d_cascade_fullres has 3d_lowres."),
    ] = None
    workers: WorkersSpec = WorkersSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    validation: Annotated[
        Literal["Run", "Skip"] | None, Field(description="The final validation; absent: Run, for fold all Skip.")
    ] = None
    max_parallel_folds: Annotated[int, Field(ge=1, le=100)] = 5
    seed: Annotated[
        int | None, Field(ge=0, le=2**32 - 1, description="Absent: made from namespace and name; status.seed has it.")
    ] = None
    deterministic: bool = default(TrainOrder, "deterministic")
    suspend: bool = False
    retention: Annotated[
        Literal["Retain", "Delete"],
        Field(description="Of this run's own results when the object is deleted; what others have a share in stays."),
    ] = "Retain"
    active_deadline_seconds: Annotated[int | None, Field(ge=1, description="A fold's running time.")] = None
    ttl_seconds_after_finished: Annotated[
        int | None, Field(ge=0, description="Then the object is deleted; its results go by retention.")
    ] = None
    plugins: Plugins = None

    @property
    def validates(self) -> bool:
        """Whether the folds end with a validation."""
        return self.validation == "Run" or (self.validation is None and "all" not in self.folds)


class CheckpointStatus(StatusModel):
    """The newest checkpoint that is safe in the store."""

    uri: Annotated[str, Field(max_length=2048)]
    epoch: Annotated[int | None, Field(ge=0)] = None
    sha256: Annotated[str | None, Field(max_length=64)] = None


class FoldStatus(WorkStatus):
    """One fold over all its attempts. Losses and Dice are of the last finished epoch."""

    name: Annotated[str, Field(max_length=3)]
    epoch: Annotated[int | None, Field(ge=0, description="Finished epochs.")] = None
    epochs: Annotated[int | None, Field(ge=0)] = None
    train_loss: float | None = None
    val_loss: float | None = None
    pseudo_dice: float | None = None
    eta: Annotated[str | None, Field(max_length=32)] = None
    speed: Annotated[
        str | None,
        Field(max_length=512, description="Of the last epoch: patches a second, where the time of a step goes, peak memory."),
    ] = None
    warnings: Annotated[
        list[Annotated[str, Field(max_length=1024)]] | None,
        Field(max_length=16, description="Signs of trouble that the training shows now, each with what to change."),
    ] = None
    resumed_from_epoch: Annotated[int | None, Field(ge=0)] = None
    checkpoint: Annotated[CheckpointStatus | None, Field(description="checkpoint_final.pth once the fold is done.")] = None
    best: Annotated[CheckpointStatus | None, Field(description="checkpoint_best.pth once the fold is done.")] = None
    artifact: Annotated[LocationStatus | None, Field(description="The fold's run prefix, and how it is reached.")] = None
    digest: Annotated[str | None, Field(max_length=128)] = None
    folder: Annotated[str | None, Field(max_length=2048, description="nnU-Net's fold folder.")] = None
    validation_dice: float | None = None
    dice_per_label: Annotated[dict[str, float] | None, Field(max_length=512)] = None
    seconds: Seconds | None = None
    found: Annotated[bool | None, Field(description="It had been trained before, and was found in the storage.")] = None
    pretrained: PretrainedStatus | None = None
    continued: Annotated[
        str | None,
        Field(max_length=1024, description="What it goes on from (spec.continues), and what the learning rate does there."),
    ] = None
    started_epoch: Annotated[int | None, Field(ge=0, description="Epochs known when the newest attempt began.")] = None
    running_since: Annotated[Time | None, Field(description="Since when the newest attempt has been running.")] = None
    running_seconds: Annotated[Seconds | None, Field(description="Running time of ended attempts, for the deadline.")] = None


class ResultsStatus(StatusModel):
    """Where the results lie."""

    uri: Annotated[str, Field(max_length=2048)]


class TrainingRunStatus(CommonStatus):
    """How each fold stands, and one line of all for people."""

    folds_done: Annotated[str, Field(max_length=16)] = "-"
    epoch: Annotated[str, Field(max_length=32)] = "-"
    dice: Annotated[str, Field(max_length=16)] = "-"
    eta: Annotated[str, Field(max_length=32)] = "-"
    trainer: Annotated[str | None, Field(max_length=100)] = None
    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1, description="What it is trained with; part of the results' address.")] = (
        None
    )
    plans: Annotated[str | None, Field(max_length=128, description="Digest of the plans that are trained with.")] = None
    plugins: Annotated[
        dict[str, Annotated[str, Field(max_length=128)]] | None,
        Field(max_length=16, description="By ConfigMap of spec.plugins, the digest of the modules that the folds are trained by."),
    ] = None
    changed_input: Annotated[
        str | None, Field(max_length=128, description="Digest of what is there now, where that is not what was trained with.")
    ] = None
    pretrained: Annotated[
        InputStatus | None, Field(description="The weights of spec.pretrained.runRef, from when they are there; that run may go.")
    ] = None
    previous_stage: Annotated[
        dict[str, InputStatus] | None,
        Field(max_length=100, description="By fold, the results of spec.previousStage.runRef, from when they are there."),
    ] = None
    continues: Annotated[
        dict[str, ContinuedStatus] | None,
        Field(max_length=100, description="By fold, the checkpoints of spec.continues.runRef, from when they are there."),
    ] = None
    folds: Annotated[list[FoldStatus], Field(max_length=100, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]})] = Field(
        default_factory=list
    )
    results: Annotated[ResultsStatus | None, Field(description="nnU-Net's results folder.")] = None
    deletion: Annotated[WorkStatus | None, Field(description="The deletion of its results, once the object is being deleted.")] = (
        None
    )
    mean_dice: Annotated[float | None, Field(description="Mean validation Dice over the folds.")] = None
    start_time: Time | None = None
    completion_time: Time | None = None

    def fold(self, name: str) -> FoldStatus | None:
        """The fold of a name, or None."""
        return next((f for f in self.folds if f.name == name), None)


class TrainingRun(Resource):
    """One trainer, one configuration, some folds."""

    plural: ClassVar[str] = "trainingruns"
    short_name: ClassVar[str] = "nnrun"

    kind: Literal["TrainingRun"] = "TrainingRun"
    spec: TrainingRunSpec
    status: TrainingRunStatus = Field(default_factory=TrainingRunStatus)
