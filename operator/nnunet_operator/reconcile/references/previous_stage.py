"""The first stage of a cascade: the TrainingRun whose final validation predicted what this run's configuration has as an input."""

from __future__ import annotations

from nnunet_trainer.contract.work_order import Input, Location, PreviousStage

from ...api import reasons
from ...api.common import State
from ...api.resources import TrainingRun
from ...api.training_run import FoldStatus
from .. import locations
from ..blocker import Blocker
from . import kept_inputs
from .component_names import CREATE_ANOTHER
from .referenced import DELETED, Referenced, dependency_failed
from .resolved import RunReferences

FIELD = "spec.previousStage.runRef"
ANOTHER = CREATE_ANOTHER.format("TrainingRun")


def predictions(references: RunReferences, store: Location) -> PreviousStage | Blocker | None:
    """Each fold's artifact once all of them are there; None when nothing was asked for, and nothing is needed."""
    if wrong := _misfit(references):
        return wrong
    if references.previous_stage is None:
        return None
    found = _too_few_folds(references) or _of_run(references, references.previous_stage, store)
    return kept_inputs.previous_stage(references, found)


def _of_run(references: RunReferences, stage: Referenced[TrainingRun], store: Location) -> PreviousStage | Blocker:
    name, run = stage.name, stage.object
    if run is None:
        waits = stage.wait("to train all of its folds")
        return waits if stage.unreadable else Blocker(waits.reason, f"{waits.message}{DELETED}")
    rows = {fold: run.status.fold(fold) for fold in run.spec.folds}
    for fold, row in rows.items():
        if row is not None and row.state is State.FAILED:
            what = f"Fold {fold} of TrainingRun {name}"
            return dependency_failed(what, row.reason or reasons.FAILED, row.message or "")
    done = {fold: row for fold, row in rows.items() if row is not None and row.state is State.SUCCEEDED}
    left = [fold for fold in rows if fold not in done]
    if left:
        if all(row is None or row.state is State.PENDING for row in rows.values()):
            return stage.wait("to train all of its folds")
        folds = f"fold{'s' if len(left) > 1 else ''} {', '.join(left)}"
        text = f"waits for TrainingRun {name} to train {folds} ({len(done)} of {len(rows)} are trained)"
        return Blocker(reasons.WAITING_FOR_TRAINING_RUN, text)
    current = references.previous_stage_plans.status.artifact if references.previous_stage_plans else None
    if run.status.plans is not None and current is not None and run.status.plans != current.digest:
        text = f"TrainingRun {name} ({FIELD}) was trained on earlier plans of Plans {run.spec.plans_ref.name}."
        return Blocker(reasons.PREVIOUS_STAGE_MISMATCH, f"{text} Set its spec.rerun to a new value.")
    return PreviousStage(run=name, folds={fold: _artifact(row, store) for fold, row in done.items()})


def _misfit(references: RunReferences) -> Blocker | None:
    """What can never become right, as soon as the Plans are planned, or the other run exists."""
    spec, row = references.run.spec, references.configuration
    known, needed = row is not None and row.batch_size is not None, row.previous_stage if row else None
    what = f"configuration {spec.configuration} of Plans {spec.plans_ref.name}"
    if references.previous_stage is None:
        if not needed:
            return None
        text = f"{what} has the predictions of {needed} as an input. Name the TrainingRun of {needed} on the same Plans in {FIELD}."
        return Blocker(reasons.NO_PREVIOUS_STAGE, f"{text} {ANOTHER}")
    if known and not needed:
        return Blocker(reasons.PREVIOUS_STAGE_MISMATCH, f"{what} has no previous stage: leave spec.previousStage out. {ANOTHER}")
    run = references.previous_stage.object
    unsuited = _unsuited(references.run, run, needed) if run else None
    if unsuited is None:
        return None
    text = f"TrainingRun {references.previous_stage.name} ({FIELD}) {unsuited}"
    return Blocker(reasons.PREVIOUS_STAGE_MISMATCH, f"{text} {ANOTHER}")


def _too_few_folds(references: RunReferences) -> Blocker | None:
    """Without some folds some cases have no prediction, which the second stage would find only once it has its GPUs."""
    row, stage = references.configuration, references.previous_stage
    if row is None or stage is None or stage.object is None:
        return None
    folds, needed = stage.object.spec.folds, [str(number) for number in range(row.previous_stage_folds or 0)]
    missing = [fold for fold in needed if fold not in folds]
    if not missing:
        return None
    which = f"fold{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
    trains = f"TrainingRun {stage.name} ({FIELD}) trains folds {', '.join(folds)} of {len(needed)}"
    text = f"{trains}: nobody predicts the cases of {which}. Add {which} to its spec.folds."
    return Blocker(reasons.PREVIOUS_STAGE_MISMATCH, text)


def _unsuited(run: TrainingRun, stage: TrainingRun, needed: str | None) -> str | None:
    own, other = run.spec, stage.spec
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
