"""`spec.continues` of a TrainingRun: more epochs for a run that is finished."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import SpecModel
from .common import LocationStatus, Reference


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


class ContinuedStatus(LocationStatus):
    """The final checkpoint of a fold of that run."""

    digest: Annotated[str | None, Field(max_length=128, description="That run's.")] = None
    sha256: Annotated[str | None, Field(max_length=64, description="Of the file.")] = None
