"""`spec.ttlSecondsAfterFinished`: a finished run's object goes after a time; what becomes of its results, `spec.retention` says."""

from __future__ import annotations

from datetime import timedelta

from ...api import reasons
from ...api.resources import TrainingRun
from ...api.training_run import TrainingRunStatus
from ..scope import Scope


def expire(scope: Scope[TrainingRunStatus], run: TrainingRun) -> None:
    """Delete the object when its time is over, judged by the stored status alone: what is said last was said before."""
    ttl, finished = run.spec.ttl_seconds_after_finished, run.status.completion_time
    if ttl is None or finished is None or scope.status.completion_time is None:
        return
    ends = finished + timedelta(seconds=ttl)
    if scope.now < ends:
        scope.look_again_at(ends)
        return
    scope.outcome.delete_self = True
    results = "its results go too (spec.retention)" if run.spec.retention == "Delete" else "its results stay in the store"
    message = f"{ttl} s after its end (spec.ttlSecondsAfterFinished); {results}"
    scope.outcome.record(reasons.DELETED, message)
