"""PlanTransfer: another dataset's plans made to fit this one (nnUNetv2_move_plans_between_datasets)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from nnunet_trainer.contract.work_order import TransferOrder, default
from pydantic import Field

from .base import FreeForm, Resource, Rule, SpecModel, fixed
from .common import ArtifactStatus, CommonSpec, CommonStatus, Reference
from .fields.names import PlansName, no_separator
from .fields.plugins import Plugins
from .plans import CompatibilityLine, PreprocessingSpec


class TransferSource(SpecModel):
    """Whose plans."""

    plans_ref: Reference


class TransferTarget(SpecModel):
    """For which dataset."""

    dataset_ref: Reference


_ANOTHER = "create another PlanTransfer"


class PlanTransferSpec(CommonSpec):
    """From whose plans, for which dataset, under which name."""

    rules: ClassVar[tuple[Rule, ...]] = (
        no_separator("plansName"),
        fixed("from", _ANOTHER),
        fixed("to", _ANOTHER),
        fixed("plansName", _ANOTHER),
        fixed("normalization", _ANOTHER),
        fixed("intensityProperties", _ANOTHER),
        fixed("patch", _ANOTHER, optional=True),
        fixed("plugins", _ANOTHER, optional=True),
    )
    from_: Annotated[TransferSource, Field(alias="from", description="Whose plans.")]
    to: Annotated[TransferTarget, Field(description="For which dataset.")]
    plans_name: Annotated[PlansName, Field(description="The new plans' name, such as nnUNetPlans_hippocampus.")]
    normalization: Annotated[
        Literal["Transfer", "Recompute"], Field(description="Transfer: as nnU-Net does; Recompute: from the target's own channels.")
    ] = default(TransferOrder, "normalization")
    intensity_properties: Annotated[
        Literal["Transfer", "Recompute"],
        Field(description="Transfer: CT statistics too; Recompute: from the target's fingerprint."),
    ] = default(TransferOrder, "intensity_properties")
    on_mismatch: Annotated[
        Literal["Warn", "Fail"], Field(description="When channels, modality, normalization, spacing or labels differ.")
    ] = default(TransferOrder, "on_mismatch")
    patch: Annotated[FreeForm | None, Field(description="Edits the new plans: objects merge, lists replace, null means null.")] = (
        None
    )
    preprocessing: PreprocessingSpec = PreprocessingSpec()
    plugins: Plugins = None
    suspend: Annotated[bool, Field(description="Nothing of its Plans runs; cases that are preprocessed stay.")] = False


class PlanTransferStatus(CommonStatus):
    """What its Plans says."""

    plans_ref: Annotated[Reference | None, Field(description="The Plans that it made and owns.")] = None
    plans_name: Annotated[str | None, Field(max_length=100)] = None
    dataset_name: Annotated[str | None, Field(max_length=100)] = None
    artifact: ArtifactStatus | None = None
    cases: Annotated[str, Field(max_length=32, description="Cases preprocessed of all, over the configurations.")] = "-"
    compatibility: Annotated[
        list[CompatibilityLine] | None, Field(max_length=64, json_schema_extra={"x-kubernetes-list-map-keys": ["field"]})
    ] = None


class PlanTransfer(Resource):
    """Another dataset's plans made to fit this one."""

    plural: ClassVar[str] = "plantransfers"
    short_name: ClassVar[str] = "nntransfer"

    kind: Literal["PlanTransfer"] = "PlanTransfer"
    spec: PlanTransferSpec
    status: PlanTransferStatus = Field(default_factory=PlanTransferStatus)
