"""`spec.suspend` of a TrainingRun and a Plans: Jobs are deleted (grace, checkpoint); resuming starts the next, uncounted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ...api import reasons
from ...api.common import State
from ..observed import attempts
from ..observed.attempt_states import Failed, ReportMissing, Succeeded
from ..scope import Scope
from ..work import ACTIVE, Work
from . import active_deadline_seconds, rerun


def apply(scope: Scope[Any], works: Iterable[Work]) -> None:
    """Suspend what is not finished, or let what was suspended go on, as the spec says now."""
    if scope.view.object.spec.suspend:
        _suspend(scope, works)
    else:
        _resume(works)


def _suspend(scope: Scope[Any], works: Iterable[Work]) -> None:
    """A Job that has ended already is read first."""
    for work in works:
        if work.status.state.finished or _has_ended(scope, work):
            continue
        if work.status.state in ACTIVE or _has_unseen(scope, work):
            active_deadline_seconds.keep_running_time(work, None, scope.now)
        if work.status.state is not State.SUSPENDED or _has_unseen(scope, work):
            rerun.abandon_attempt(scope, work, State.SUSPENDED)
        ending = [a for a in attempts.of(scope.view, work).values() if a.alive(scope.now)]
        if ending:
            saves = "it saves a checkpoint first" if work.step == "train" else "what is done stays"
            message = f"{work.title}: {work.attempt} is being stopped; {saves}"
            work.set_state(State.SUSPENDED, reasons.SUSPENDING, message)
            scope.look_again_at(scope.now + timedelta(seconds=15))
        else:
            work.set_state(State.SUSPENDED, reasons.SUSPENDED, f"{work.title} is suspended{_epoch(work)}")


def _resume(works: Iterable[Work]) -> None:
    for work in works:
        if work.status.state is State.SUSPENDED:
            work.set_state(State.PENDING, reasons.RESUMED, f"{work.title} goes on{_epoch(work)}")


def _has_ended(scope: Scope[Any], work: Work) -> bool:
    state = attempts.state(work, attempts.of(scope.view, work), scope.now)
    return isinstance(state, (Succeeded, Failed, ReportMissing))


def _has_unseen(scope: Scope[Any], work: Work) -> bool:
    known = -1 if work.status.attempt is None else work.status.attempt
    return attempts.newest(work, attempts.of(scope.view, work)) > known


def _epoch(work: Work) -> str:
    return f" at epoch {work.epoch}" if work.epoch is not None else ""
