"""What follows when folds are added to a run, and when its plans, data or weights are others than those that it began with."""

from __future__ import annotations

from collections.abc import Mapping

from nnunet_trainer.contract.work_order import TrainOrder

from ...api import reasons
from ...api.training_run import FoldStatus, TrainingRunStatus
from ..blocker import Blocker
from ..policies import rerun
from ..references import continued, kept_inputs, pretrained, previous_stage
from ..references.resolved import RunReferences
from ..scope import Scope
from ..work import Startable, Work
from .folds import Starts, row


def require_same_input(works: Mapping[str, Work], start: Startable | Blocker) -> Startable | Blocker:
    """Folds of one run are all trained on the same plans, data and weights; what has changed since is said."""
    pinned = next((work.status.input for work in works.values() if work.status.input is not None), None)
    if isinstance(start, Blocker) or pinned is None or start.input == pinned:
        return start
    text = (
        "the plans, the preprocessed data, the pretrained weights or the previous stage are others than those that this run began "
        "with. "
        "Set spec.rerun to a new value to train all of its folds on the new ones."
    )
    return Blocker(reasons.REFERENCE_CHANGED, text)


def retrain_changed(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts) -> list[Work]:
    """On a rerun: folds that were trained on what is no longer there start from the beginning. Returns them."""
    found = [work for name, work in works.items() if rerun.input_changed(starts[name], work)]
    for work in found:
        rerun.start_over(scope, work)
        _forget(row(work))
    return found


def record_change(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts) -> None:
    """Say once that what was trained on is no longer what is there: the run keeps its results until it is told otherwise."""
    status = scope.status
    now = next((start.input for name, start in starts.items() if rerun.input_changed(start, works[name])), None)
    if now is not None and now != status.changed_input:
        text = (
            "The plans, the preprocessed data or the pretrained weights are others than those that this run is trained with. "
            "It keeps them; set spec.rerun to a new value to train on the new ones."
        )
        scope.outcome.record(reasons.REFERENCE_CHANGED, text)
    status.changed_input = now


def keep_inputs(scope: Scope[TrainingRunStatus], works: Mapping[str, Work], starts: Starts, references: RunReferences) -> None:
    """Keep what the run starts from of other runs: until it begins what is there now, then what it has begun with."""
    run, store = scope.view.object, references.storage
    if run.spec.continues is not None and not isinstance(store, Blocker):
        kept_inputs.keep_continuations(scope.status, run, continued.finished(references, store))
    if any(work.status.input is not None for work in works.values()):
        begun_with = (start.order for name, start in starts.items() if rerun.is_input(start, works[name]))
        kept_inputs.keep(scope.status, run, [order for order in begun_with if isinstance(order, TrainOrder)][:1])
    elif not isinstance(store, Blocker):
        found = (pretrained.weights(references, store), previous_stage.predictions(references, store))
        kept_inputs.keep(scope.status, run, [item for item in found if item is not None and not isinstance(item, Blocker)])


def record_added(scope: Scope[TrainingRunStatus], works: Mapping[str, Work]) -> None:
    """Say once that folds were added. They begin as all folds do; what is done, or has failed, stays as it is."""
    known = {fold.name for fold in scope.view.object.status.folds}
    added = [work.title for name, work in works.items() if name not in known]
    if known and added:
        scope.outcome.record(reasons.FOLDS_ADDED, f"{', '.join(added)}: added to spec.folds. What is trained stays as it is.")


def _forget(fold: FoldStatus) -> None:
    """Nothing of what was trained on other plans is progress of the new training."""
    for name in FoldStatus.model_fields.keys() - {"name", "attempt", "restarts", "disruptions", "state"}:
        setattr(fold, name, FoldStatus.model_fields[name].get_default(call_default_factory=True))
    if fold.model_extra:  # of another version
        fold.model_extra.clear()
