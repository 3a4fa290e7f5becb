"""`spec.failurePolicy.preRunningDeadlineSeconds`: how long a pod that has a node may take to run (image, mounts, configuration)."""

from __future__ import annotations

from datetime import datetime, timedelta

from ...api import reasons
from .. import times
from ..observed import pending_pods
from ..observed.attempt_states import Pending
from ..observed.failures import Cause, Failure
from ..work import Work


def check(work: Work, pending: Pending, now: datetime) -> Failure | timedelta | None:
    """Of a pod that has a node and does not run: a failure when its time is over, else how long is left.

    None before it has a node: waiting for one (for a GPU) takes as long as it takes.
    """
    if pending.scheduled is None:
        return None
    limit = timedelta(seconds=work.policy.pre_running_deadline_seconds)
    left = pending.scheduled + limit - now
    if left > timedelta():
        return left
    said = f": {pending.message}" if pending.message else ""
    what = f" ({pending.reason}{said})" if pending.reason else ""
    if pending.reason not in pending_pods.WAITING:
        what += pending_pods.needs(pending)
    return Failure(
        cause=Cause.ERROR,
        reason=reasons.PRE_RUNNING_DEADLINE_EXCEEDED,
        message=f"did not run within {times.duration(limit.total_seconds())} of being scheduled{what}",
        hint=pending_pods.hint(pending),
        at=pending.scheduled + limit,
    )
