"""What a TrainingRun begins with of other runs: pretrained weights, a previous stage, a finished run that it goes on from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from nnunet_trainer.contract.work_order import PretrainedPolicies, default
from pydantic import Field

from .base import Rule, SpecModel, StatusModel, fixed
from .common import LocationStatus, Reference
from .fields.int_or_string import Fold
from .fields.names import Name
from .fields.uris import Access, Uri, uri_rules

ANOTHER = "create another TrainingRun"


class RunReference(SpecModel):
    """One fold of another TrainingRun of the same namespace."""

    name: Name
    fold: Fold = "all"


class PretrainedSpec(Access):
    """Weights to start from: of a run, or of a file. Absent policies: as nnU-Net, all but the segmentation layers, or an error."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.runRef) != has(self.uri)", "give exactly one of runRef and uri"),
        *uri_rules(optional=True),
        Rule(
            "has(self.runRef) || self.checkpoint == 'final'",
            "goes with runRef; a uri names the file itself",
            "checkpoint",
        ),
        Rule(
            "has(self.runRef) == has(oldSelf.runRef) && (!has(self.runRef) || (self.runRef.name == oldSelf.runRef.name"
            " && string(self.runRef.fold) == string(oldSelf.runRef.fold)))",
            f"cannot change: {ANOTHER}",
            "runRef",
        ),
        fixed("uri", ANOTHER, optional=True),
        fixed("checkpoint", ANOTHER),
        fixed("inputChannels", ANOTHER),
        fixed("heads", ANOTHER),
        fixed("mismatched", ANOTHER),
    )
    run_ref: RunReference | None = None
    checkpoint: Annotated[Literal["final", "best"], Field(description="Of the referenced run.")] = "final"
    uri: Annotated[Uri | None, Field(description="s3://…/checkpoint_final.pth")] = None
    sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$", max_length=64, description="Of the file at uri.")] = None
    input_channels: Annotated[
        Literal["Match", "Repeat", "Average", "Reinitialize"],
        Field(
            description="When the source has another number of input channels: Match fails, the others adapt the first convolution."
        ),
    ] = default(PretrainedPolicies, "input_channels")
    heads: Annotated[
        Literal["Reinitialize", "MatchByLabel"],
        Field(description="The segmentation layers begin anew, or go on for labels and regions of the same name."),
    ] = default(PretrainedPolicies, "heads")
    mismatched: Annotated[
        Literal["Fail", "Skip"], Field(description="Any other tensor that does not fit: Fail, or Skip it and say so.")
    ] = default(PretrainedPolicies, "mismatched")


class PreviousStageReference(SpecModel):
    """Another TrainingRun of the same namespace, all of its folds."""

    name: Name


class PreviousStageSpec(SpecModel):
    """The first stage of a cascade: a run of the same Plans, whose final validation predicts what this run has as an input."""

    run_ref: PreviousStageReference


class ContinuesSpec(SpecModel):
    """A finished run of the same plans, configuration and trainer: each fold goes on from that run's final checkpoint of it."""

    run_ref: Reference
    additional_epochs: Annotated[int, Field(ge=1, le=1_000_000, description="So many more than each fold of that run has.")]
    schedule: Annotated[
        Literal["Stretch", "Restart"],
        Field(
            description="Of the learning rate. Stretch: as if all epochs had been planned from the start. Restart: as in a "
            "training of the additional epochs alone. Both change it at once; status.folds[].continued says from what to what."
        ),
    ]


class PretrainedStatus(StatusModel):
    """What became of the pretrained weights: counts of tensors, one sentence. The tensors are named in the fold's report.json."""

    source: Annotated[str, Field(max_length=2048)]
    loaded: Annotated[int, Field(ge=0)] = 0
    adapted: Annotated[int, Field(ge=0, description="Made to fit: the first convolution, heads.")] = 0
    skipped: Annotated[int, Field(ge=0, description="Begin anew, as asked.")] = 0
    mismatched: Annotated[int, Field(ge=0, description="Begin anew: another shape.")] = 0
    missing: Annotated[int, Field(ge=0, description="Begin anew: not in the file.")] = 0
    unused: Annotated[int, Field(ge=0, description="In the file, not in the network.")] = 0
    message: Annotated[str | None, Field(max_length=1024)] = None


class InputStatus(LocationStatus):
    """Something that another run has made."""

    digest: Annotated[str | None, Field(max_length=128, description="Of a file: its sha256.")] = None


class ContinuedStatus(LocationStatus):
    """The final checkpoint of a fold of that run."""

    digest: Annotated[str | None, Field(max_length=128, description="That run's.")] = None
    sha256: Annotated[str | None, Field(max_length=64, description="Of the file.")] = None
