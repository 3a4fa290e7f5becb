"""`spec.failurePolicy.preRunningDeadlineSeconds`: how long a pod that has a node may take to run (image, mounts, configuration)."""

from __future__ import annotations

from datetime import datetime, timedelta

from ...api import reasons
from .. import times
from ..observed import pending_pods
from ..observed.attempt_states import Pending, Running
from ..observed.failures import Cause, Failure
from ..work import Work


def is_half_started(work: Work, running: Running) -> bool:
    """Whether some ranks of a training run and another has no node yet."""
    return work.step == "train" and running.pending is not None and running.pending.scheduled is None


def check_gang(work: Work, running: Running, now: datetime) -> Failure | timedelta | None:
    """Of a training some of whose pods run and one has no node: its nodes are given back in time, else how long is left.

    Ranks wait for each other; two runs that each hold a part of what both need would wait for ever. It counts from the start of
    the first pod; the back-off counts from now, when the nodes are given back, not from when they should have been. None where
    all pods have a node, and of shards, which do not need each other.
    """
    if not is_half_started(work, running) or running.pending is None or running.since is None:
        return None
    limit = timedelta(seconds=work.policy.pre_running_deadline_seconds)
    left = running.since + limit - now
    if left > timedelta():
        return left
    said = f": {running.pending.message.rstrip('.')}" if running.pending.message else ""
    return Failure(
        cause=Cause.GIVEN_BACK,
        reason=reasons.PRE_RUNNING_DEADLINE_EXCEEDED,
        message=f"gave its nodes back: within {times.duration(limit.total_seconds())} of its first pod's start "
        f"pod {running.pending.pod} found none{said}",
        at=now,
    )


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
