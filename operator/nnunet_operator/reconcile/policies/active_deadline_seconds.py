"""`spec.activeDeadlineSeconds`: how long a fold may run, over all its attempts. Queueing and starting do not count."""

from __future__ import annotations

from datetime import datetime, timedelta

from ...api import reasons
from ...api.training_run import FoldStatus
from .. import times
from ..observed.failures import Cause, Failure
from ..work import Work


def keep_running_time(work: Work, since: datetime | None, until: datetime) -> None:
    """Keep a fold's running time: that of ended attempts, and since when the present one runs. Queueing is not in it."""
    status = work.status
    if not isinstance(status, FoldStatus) or status.running_since == since:
        return
    if status.running_since is not None:
        status.running_seconds = (status.running_seconds or 0) + max(0, round((until - status.running_since).total_seconds()))
    status.running_since = since


def check(work: Work, now: datetime) -> Failure | timedelta | None:
    """Of a running fold: the end when its time is over, else how long is left; None without a deadline."""
    status = work.status
    if work.active_deadline is None or not isinstance(status, FoldStatus) or status.running_since is None:
        return None
    before = times.span(status.running_seconds or 0)
    left = times.span(work.active_deadline) - before - (now - status.running_since)
    if left > timedelta():
        return left
    return Failure(
        cause=Cause.PERMANENT,
        reason=reasons.DEADLINE_EXCEEDED,
        message=f"has run for its {times.duration(work.active_deadline)} (spec.activeDeadlineSeconds)",
        hint="Set spec.rerun to a new value to go on from its last checkpoint for as long again.",
        at=now + left,
    )
