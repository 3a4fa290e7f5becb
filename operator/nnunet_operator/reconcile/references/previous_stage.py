"""The first stage of a cascade: the TrainingRun whose final validation predicted what this run's configuration has as an input."""

from __future__ import annotations

from nnunet_trainer.contract.work_order import Input, Location, PreviousStage

from ...api import reasons
from ...api.common import State
from ...api.resources import Plans, TrainingRun
from ...api.training_run import FoldStatus
from .. import locations
from ..view import View
from ..work import Blocker
from . import dependencies

FIELD = "spec.previousStage.runRef"
ANOTHER = "This part of the spec never changes: create another TrainingRun."


def predictions(view: View[TrainingRun], store: Location) -> PreviousStage | Blocker | None:
    """Each fold's artifact once all of them are there; None when nothing was asked for, and nothing is needed."""
    if wrong := _misfit(view):
        return wrong
    spec = view.object.spec.previous_stage
    if spec is None:
        return None
    name = spec.run_ref.name
    run = view.reference("TrainingRun", name)
    if run is None:
        return Blocker(reasons.WAITING_FOR_TRAINING_RUN, f"waits for TrainingRun {name} ({FIELD}), which does not exist")
    if not isinstance(run, TrainingRun):
        return dependencies.standing(run, "to train all of its folds")
    rows = {fold: run.status.fold(fold) for fold in run.spec.folds}
    for fold, row in rows.items():
        if row is not None and row.state is State.FAILED:
            what = f"Fold {fold} of TrainingRun {name}"
            return dependencies.failed(what, row.reason or reasons.FAILED, row.message or "")
    done = {fold: row for fold, row in rows.items() if row is not None and row.state is State.SUCCEEDED}
    left = [fold for fold in rows if fold not in done]
    if left:
        if all(row is None or row.state is State.PENDING for row in rows.values()):
            return dependencies.standing(run, "to train all of its folds")
        folds = f"fold{'s' if len(left) > 1 else ''} {', '.join(left)}"
        text = f"waits for TrainingRun {name} to train {folds} ({len(done)} of {len(rows)} are trained)"
        return Blocker(reasons.WAITING_FOR_TRAINING_RUN, text)
    plans = view.reference("Plans", run.spec.plans_ref.name)
    current = plans.status.artifact if isinstance(plans, Plans) else None
    if run.status.plans is not None and current is not None and run.status.plans != current.digest:
        text = f"TrainingRun {name} ({FIELD}) was trained on earlier plans of Plans {run.spec.plans_ref.name}."
        return Blocker(reasons.PREVIOUS_STAGE_MISMATCH, f"{text} Set its spec.rerun to a new value.")
    return PreviousStage(run=name, folds={fold: _artifact(row, store) for fold, row in done.items()})


def _misfit(view: View[TrainingRun]) -> Blocker | None:
    """What can never become right, as soon as the Plans are planned, or the other run exists."""
    spec = view.object.spec
    known, needed = _needed(view)
    what = f"configuration {spec.configuration} of Plans {spec.plans_ref.name}"
    if spec.previous_stage is None:
        if not needed:
            return None
        text = f"{what} has the predictions of {needed} as an input. Name the TrainingRun of {needed} on the same Plans in {FIELD}."
        return Blocker(reasons.NO_PREVIOUS_STAGE, f"{text} {ANOTHER}")
    if known and not needed:
        return Blocker(reasons.PREVIOUS_STAGE_MISMATCH, f"{what} has no previous stage: leave spec.previousStage out. {ANOTHER}")
    run = view.reference("TrainingRun", spec.previous_stage.run_ref.name)
    unsuited = _unsuited(view, run, needed) if isinstance(run, TrainingRun) else None
    if unsuited is None:
        return None
    text = f"TrainingRun {spec.previous_stage.run_ref.name} ({FIELD}) {unsuited}"
    return Blocker(reasons.PREVIOUS_STAGE_MISMATCH, f"{text} {ANOTHER}")


def _needed(view: View[TrainingRun]) -> tuple[bool, str | None]:
    """Whether the Plans' status tells, and the configuration's previous stage."""
    plans = view.reference("Plans", view.object.spec.plans_ref.name)
    row = plans.status.configuration(view.object.spec.configuration) if isinstance(plans, Plans) else None
    return row is not None and row.batch_size is not None, row.previous_stage if row else None


def _unsuited(view: View[TrainingRun], run: TrainingRun, needed: str | None) -> str | None:
    own, other = view.object.spec, run.spec
    if other.plans_ref.name != own.plans_ref.name:
        return f"is of Plans {other.plans_ref.name}, this run is of Plans {own.plans_ref.name}: both stages need the same."
    if needed is not None and other.configuration != needed:
        return f"trains {other.configuration}; the previous stage of {own.configuration} is {needed}."
    if not other.validates:
        skipped = "trains fold all" if "all" in other.folds else "skips the final validation (spec.validation)"
        return f"{skipped}, so it predicts nothing for {own.configuration}: a run of numbered folds with the validation is needed."
    return None


def _artifact(row: FoldStatus, store: Location) -> Input:
    access = row.artifact or store
    return Input(location=locations.at(row.folder or access.uri, access), digest=row.digest or "")
