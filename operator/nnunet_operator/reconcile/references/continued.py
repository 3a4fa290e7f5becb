"""`spec.continues`: the finished TrainingRun whose folds this run trains for more epochs."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.comparison import differences
from nnunet_trainer.contract.work_order import Continuation, Location

from ...api import reasons
from ...api.resources import TrainingRun
from .. import locations
from ..blocker import Blocker
from . import kept_inputs
from .component_names import CREATE_ANOTHER
from .referenced import DELETED
from .resolved import RunReferences
from .trained_fold import trained

FIELD = "spec.continues.runRef"
SIDES = ("there", "here")
SHOWN = 6


def of_fold(references: RunReferences, fold: str, store: Location) -> Continuation | Blocker | None:
    """What a fold goes on from once that is trained; None where nothing was asked for."""
    if references.run.spec.continues is None:
        return None
    return kept_inputs.continuation(references, fold, _of_run(references, fold, store))


def finished(references: RunReferences, store: Location) -> dict[str, Continuation]:
    """All folds of that run that are trained by now: folds may be added to this one later, when that one is gone."""
    source = references.continued.object if references.continued else None
    found = {fold: _of_run(references, fold, store) for fold in (source.spec.folds if source else ())}
    return {fold: given for fold, given in found.items() if isinstance(given, Continuation)}


def misfit(references: RunReferences, plans_digest: str | None) -> Blocker | None:
    """What can never become right: another configuration, recipe or previous stage; or other plans, once those are planned."""
    source = references.continued.object if references.continued else None
    if source is None:
        return None
    lines = differences("", _decisive(source), _decisive(references.run), *SIDES)
    if references.recipe is not None and references.continued_recipe is not None:
        lines += differences("recipe", references.continued_recipe, references.recipe, *SIDES)
    if lines:
        more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        return _refused(source, f"was trained otherwise than this run asks for: {'; '.join(lines[:SHOWN])}{more}.")
    there = source.status.plans
    if plans_digest is not None and there is not None and there != plans_digest:
        name = references.run.spec.plans_ref.name
        return _refused(source, f"was trained on the plans {there}; those of Plans {name} are {plans_digest} now.")
    return None


def _of_run(references: RunReferences, fold: str, store: Location) -> Continuation | Blocker:
    spec, source = references.run.spec.continues, references.continued
    assert spec is not None
    assert source is not None
    if source.object is None:
        waits = source.wait(f"to train fold {fold}")
        return waits if source.unreadable else Blocker(waits.reason, f"{waits.message}{DELETED}")
    row = trained(source.object, source, fold, FIELD)
    if isinstance(row, Blocker):
        return row
    if row.checkpoint is None:
        text = f"waits for the checkpoint of fold {fold} of TrainingRun {source.name}; its status names none"
        return Blocker(reasons.WAITING_FOR_TRAINING_RUN, text)
    return Continuation(
        run=source.name,
        location=locations.at(row.checkpoint.uri, row.artifact or store),
        digest=row.digest or "",
        additional_epochs=spec.additional_epochs,
        schedule=spec.schedule,
        sha256=row.checkpoint.sha256,
    )


def _decisive(run: TrainingRun) -> dict[str, Any]:
    """What of a spec must be the same, beside plans and recipe."""
    stage = run.spec.previous_stage
    return {
        "spec.configuration": run.spec.configuration,
        "spec.previousStage.runRef.name": stage.run_ref.name if stage else None,
    }


def _refused(source: TrainingRun, why: str) -> Blocker:
    remedy = (
        "A run goes on with the plans, the configuration and the recipe that it was trained with, and "
        "spec.continues.additionalEpochs says for how many epochs more; to change them, begin with its weights (spec.pretrained)."
    )
    text = f"TrainingRun {source.metadata.name} ({FIELD}) {why} {remedy} {CREATE_ANOTHER.format('TrainingRun')}"
    return Blocker(reasons.CONTINUATION_MISMATCH, text)
