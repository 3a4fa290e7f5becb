"""Plans: what nnU-Net planned for a dataset, and the data preprocessed by it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from nnunet_trainer.contract.work_order import PlannerChoice, PreprocessOrder, TransferOrder, default
from pydantic import Field

from .base import FreeForm, Resource, Rule, SpecModel, StatusModel, fixed
from .common import ArtifactStatus, CommonSpec, CommonStatus, LocationStatus, Reference, WorkStatus
from .fields.names import NO_SEPARATOR, Component, Configuration, PlansName, no_separator
from .fields.plugins import Plugins
from .template import ResourcesSpec

# Numbers of planning, as those of a recipe: what nnU-Net computes with is written as a number, with its fraction.
Spacing = Annotated[list[Annotated[float, Field(gt=0, le=10_000)]], Field(min_length=2, max_length=3)]

_ANOTHER = "create another Plans"
_ANOTHER_TRANSFER = "create another PlanTransfer"


class PlannerOverride(SpecModel):
    """What another planner does for one configuration."""

    name: Component | None = None
    gpu_memory_gb: Annotated[float | None, Field(alias="gpuMemoryGB", gt=0, le=1024)] = None
    target_spacing: Annotated[Spacing | None, Field(description="z, y, x in mm.")] = None
    parameters: Annotated[FreeForm | None, Field(description="Of the planner, by name.")] = None


class PlannerSpec(SpecModel):
    """Which planner, and what is changed about it."""

    name: Component = default(PlannerChoice, "name")
    gpu_memory_gb: Annotated[
        float | None,
        Field(alias="gpuMemoryGB", gt=0, le=1024, description="Plan for a GPU of this size; absent: the planner's own."),
    ] = None
    target_spacing: Annotated[Spacing | None, Field(description="z, y, x in mm; absent: the dataset's own.")] = None
    parameters: Annotated[FreeForm | None, Field(description="Of the planner, by name.")] = None
    calibrate: Annotated[
        bool,
        Field(
            description="Measure first what the planner's networks take on the Job's GPU (resources ask for it; without one, small "
            "patches are counted on the CPU), and plan by that. Another planner of perConfiguration is not measured."
        ),
    ] = default(PlannerChoice, "calibrate")
    resources: Annotated[ResourcesSpec | None, Field(description="Of the planning pod; absent: those of template.")] = None
    per_configuration: Annotated[
        dict[str, PlannerOverride] | None, Field(max_length=32, description="Another planner for a configuration, such as 2d.")
    ] = None


class TransferFrom(SpecModel):
    """Written by a PlanTransfer into the Plans that it owns."""

    rules: ClassVar[tuple[Rule, ...]] = (
        fixed("plansRef", _ANOTHER_TRANSFER),
        fixed("normalization", _ANOTHER_TRANSFER),
        fixed("intensityProperties", _ANOTHER_TRANSFER),
    )
    plans_ref: Reference
    normalization: Literal["Transfer", "Recompute"] = default(TransferOrder, "normalization")
    intensity_properties: Literal["Transfer", "Recompute"] = default(TransferOrder, "intensity_properties")
    on_mismatch: Literal["Warn", "Fail"] = default(TransferOrder, "on_mismatch")


class PreprocessingSpec(SpecModel):
    """Which configurations are preprocessed, by how many pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("oldSelf.configurations.all(c, c in self.configurations)", "can be added to, not taken from", "configurations"),
        Rule("self.configurations.all(c, !c.contains('__'))", NO_SEPARATOR, "configurations"),
    )
    configurations: Annotated[
        list[Configuration], Field(min_length=1, max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(default=["3d_fullres"])
    shards: Annotated[int, Field(ge=1, le=1000, description="Pods that share a configuration's cases.")] = default(
        PreprocessOrder, "shards"
    )
    resources: Annotated[ResourcesSpec | None, Field(description="Of a preprocessing pod; absent: those of template.")] = None


class PlansSpec(CommonSpec):
    """Plans for a dataset: by a planner, or another dataset's plans made to fit."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!(has(self.planner) && has(self.transferFrom))", "planner and transferFrom exclude each other"),
        no_separator("plansName", optional=True),
        fixed("datasetRef", _ANOTHER),
        fixed("planner", _ANOTHER, optional=True),
        Rule("has(self.transferFrom) == has(oldSelf.transferFrom)", "cannot be added or removed", "transferFrom"),
        fixed("plansName", _ANOTHER, optional=True),
        fixed("patch", _ANOTHER, optional=True),
        fixed("plugins", _ANOTHER, optional=True),
    )
    dataset_ref: Reference
    planner: Annotated[PlannerSpec | None, Field(description="Absent: nnU-Net's default planner.")] = None
    transfer_from: Annotated[TransferFrom | None, Field(description="Written by a PlanTransfer; people do not write it.")] = None
    plans_name: Annotated[PlansName | None, Field(description="Absent: the planner's own name, such as nnUNetPlans.")] = None
    patch: Annotated[FreeForm | None, Field(description="Edits the plans: objects merge, lists replace, null means null.")] = None
    preprocessing: PreprocessingSpec = PreprocessingSpec()
    suspend: Annotated[bool, Field(description="Nothing of it runs; cases that are preprocessed stay.")] = False
    plugins: Plugins = None

    @property
    def planner_or_default(self) -> PlannerSpec:
        """The planner asked for, or nnU-Net's default."""
        return self.planner or PlannerSpec()


class ConfigurationStatus(WorkStatus):
    """A configuration: what was planned for it, and how far its preprocessing is. Axes are z, y, x (2d: y, x)."""

    name: Annotated[str, Field(max_length=63)]
    patch_size: Annotated[list[int] | None, Field(max_length=3)] = None
    batch_size: Annotated[int | None, Field(ge=0)] = None
    spacing: Annotated[list[float] | None, Field(max_length=3)] = None
    median_shape: Annotated[list[float] | None, Field(max_length=3)] = None
    estimated_gpu_memory_gb: Annotated[float | None, Field(alias="estimatedGpuMemoryGB", ge=0)] = None
    network_digest: Annotated[str | None, Field(max_length=128)] = None
    preprocessable: bool | None = None
    previous_stage: Annotated[
        str | None, Field(max_length=63, description="The configuration whose predictions are an input of this one (cascade).")
    ] = None
    previous_stage_folds: Annotated[
        int | None,
        Field(
            ge=0,
            description="So many folds of it, from 0 on, predict every case; unknown where the splits are no cross-validation.",
        ),
    ] = None
    preprocessed: ArtifactStatus | None = None
    cases_done: Annotated[int | None, Field(ge=0)] = None
    cases_total: Annotated[int | None, Field(ge=0)] = None
    started_cases: Annotated[int | None, Field(ge=0, description="Cases that were done when the budget was last refilled.")] = None
    size_bytes: Annotated[int | None, Field(ge=0)] = None
    found: Annotated[bool | None, Field(description="It was there already: the same data was preprocessed before.")] = None


class CompatibilityLine(StatusModel):
    """One thing in which the two datasets of a transfer were compared."""

    field: Annotated[str, Field(max_length=128)]
    source: Annotated[str | None, Field(max_length=512)] = None
    target: Annotated[str | None, Field(max_length=512)] = None
    verdict: Annotated[str, Field(max_length=512)] = ""


class PluginStatus(StatusModel):
    """A plug-in that plans were made with."""

    name: Annotated[str, Field(max_length=253, description="Of its ConfigMap, or of the installed package.")]
    version: Annotated[str | None, Field(max_length=128)] = None
    digest: Annotated[str | None, Field(max_length=128)] = None
    needed: Annotated[bool | None, Field(description="Whether training and prediction need it too.")] = None


class PlansStatus(CommonStatus):
    """What was planned and preprocessed, and all that a TrainingRun's work order needs of it."""

    plans_name: Annotated[str | None, Field(max_length=100)] = None
    dataset_name: Annotated[str | None, Field(max_length=100)] = None
    dataset: Annotated[ArtifactStatus | None, Field(description="The dataset that was planned for, as it was then.")] = None
    source: Annotated[LocationStatus | None, Field(description="Its raw data.")] = None
    layout: Annotated[str | None, Field(max_length=32)] = None
    storage: Annotated[LocationStatus | None, Field(description="Where the artifacts lie, and how they are reached.")] = None
    artifact: Annotated[ArtifactStatus | None, Field(description="plans.json")] = None
    planner: Annotated[str | None, Field(max_length=100)] = None
    plugins: Annotated[
        list[PluginStatus] | None, Field(max_length=64, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]})
    ] = None
    calibration: Annotated[str | None, Field(max_length=512, description="With what the planner's references were measured.")] = (
        None
    )
    cases: Annotated[str, Field(max_length=32, description="Cases preprocessed of all, over the configurations.")] = "-"
    configurations: Annotated[
        list[ConfigurationStatus], Field(max_length=64, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]})
    ] = Field(default_factory=list)
    compatibility: Annotated[
        list[CompatibilityLine] | None, Field(max_length=64, json_schema_extra={"x-kubernetes-list-map-keys": ["field"]})
    ] = None
    warnings: Annotated[list[Annotated[str, Field(max_length=1024)]] | None, Field(max_length=64)] = None
    report: Annotated[str | None, Field(max_length=2048, description="Where the whole report stands.")] = None
    work: Annotated[WorkStatus | None, Field(description="The planning (or the transfer) itself.")] = None

    def configuration(self, name: str) -> ConfigurationStatus | None:
        """The configuration of a name, or None."""
        return next((c for c in self.configurations if c.name == name), None)


class Plans(Resource):
    """What nnU-Net planned for a dataset, and the data preprocessed by it."""

    plural: ClassVar[str] = "plans"
    short_name: ClassVar[str] = "nnplans"

    kind: Literal["Plans"] = "Plans"
    spec: PlansSpec
    status: PlansStatus = Field(default_factory=PlansStatus)
