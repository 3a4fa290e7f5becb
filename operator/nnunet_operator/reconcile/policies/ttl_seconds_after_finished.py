"""`spec.ttlSecondsAfterFinished`: a finished run's object goes after a time; its results in the store stay."""

from __future__ import annotations

from datetime import datetime, timedelta

from ...api import reasons
from ...api.resources import TrainingRun
from ...api.training_run import TrainingRunStatus
from ..scope import Scope
from ..status import events


def expire(scope: Scope[TrainingRunStatus], run: TrainingRun) -> None:
    """Delete the object when its time is over, judged by the stored status alone: what is said last was said before."""
    ttl, finished = run.spec.ttl_seconds_after_finished, finished_at(run.status)
    if ttl is None or finished is None or scope.status.completion_time is None:
        return
    ends = finished + timedelta(seconds=ttl)
    if scope.now < ends:
        scope.look_again_at(ends)
        return
    scope.out.delete_self = True
    message = f"{ttl} s after its end (spec.ttlSecondsAfterFinished); its results stay in the store"
    scope.out.events.append(events.say(reasons.DELETED, message))


def finished_at(status: TrainingRunStatus) -> datetime | None:
    """When all folds were over, as the stored status has it."""
    return status.completion_time
