"""`spec.ttlSecondsAfterFinished`: a finished run's object goes after a time; what becomes of its results, `spec.retention` says."""

from __future__ import annotations

from datetime import timedelta

from ...api import reasons
from ...api.conditions import STALLED, is_true
from ...api.resources import TrainingRun
from ...api.training_run import TrainingRunStatus
from .. import times
from ..references import kept_inputs
from ..scope import Scope


def expire(scope: Scope[TrainingRunStatus], run: TrainingRun) -> None:
    """Delete the object when its time is over, judged by the stored status alone: what is said last was said before."""
    ttl, finished = run.spec.ttl_seconds_after_finished, run.status.completion_time
    if ttl is None or finished is None or scope.status.completion_time is None:
        return
    ends = finished + times.span(ttl)
    if scope.now < ends:
        scope.look_again_at(ends)
        return
    if any(isinstance(other, TrainingRun) and _waits_for(other, run) for other in scope.view.dependents):
        scope.look_again_at(scope.now + timedelta(seconds=5))
        return
    scope.outcome.delete_self = True
    results = "its results go too (spec.retention)" if run.spec.retention == "Delete" else "its results stay in the store"
    message = f"{ttl} s after its end (spec.ttlSecondsAfterFinished); {results}"
    scope.outcome.record(reasons.DELETED, message)


def is_known(run: TrainingRun) -> bool:
    """Whether `expire` has said when to look again: where there is a time to live, that is after the end is stored."""
    return run.spec.ttl_seconds_after_finished is None or run.status.completion_time is not None


def _waits_for(other: TrainingRun, run: TrainingRun) -> bool:
    """Whether another run is about to read from this one's status where what it starts from lies. One that is stalled is not."""
    over = bool(other.status.folds) and all(fold.state.finished for fold in other.status.folds)
    return not over and not is_true(other.status.conditions, STALLED) and kept_inputs.missing(other, run.metadata.name)
