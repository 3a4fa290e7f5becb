"""`spec.rerun`: a new value ends a terminal failure and tries again. And what follows when the input of finished work changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

from ...api import reasons
from ...api.common import State
from ...api.training_run import FoldStatus
from ..blocker import Blocker
from ..observed import attempts
from ..scope import Scope
from ..work import Startable, Work


def requested(scope: Scope[Any]) -> bool:
    """Whether spec.rerun has a value that was not acted upon yet; from now on it has."""
    wanted = scope.view.object.spec.rerun
    if wanted is None or wanted == scope.status.rerun_observed:
        return False
    # At the first sight of an object nothing has failed yet.
    first = scope.status.observed_generation is None
    scope.status.rerun_observed = wanted
    return not first


def record(scope: Scope[Any], what: str) -> None:
    """An event that says what a new value of spec.rerun does."""
    scope.outcome.record(reasons.RERUN, f"spec.rerun is {scope.view.object.spec.rerun!r}: {what}")


def retry_failed(scope: Scope[Any], works: Iterable[Work]) -> list[Work]:
    """Try again what has failed, at once and with a full budget; what waits for its next attempt, or is left as it is, too.

    Returns it.
    """
    found = [work for work in works if work.status.state in (State.FAILED, State.BACKING_OFF) or not work.status.state.known]
    for work in found:
        start_over(scope, work)
    return found


def record_retried(scope: Scope[Any], retried: Iterable[Work]) -> None:
    """An event that says what is tried again."""
    titles = ", ".join(dict.fromkeys(work.title for work in retried))
    record(scope, f"{titles}: tried again" if titles else "nothing had failed, and nothing has changed: all stays as it is")


def start_over(scope: Scope[Any], work: Work) -> None:
    """Do a piece of work again from the start of its budget, by a new attempt."""
    abandon_attempt(scope, work)
    status = work.status
    status.restarts = status.disruptions_without_progress = status.reports_missed = status.out_of_memory = 0
    status.input = None
    if isinstance(status, FoldStatus):
        status.running_seconds = status.running_since = None


def abandon_attempt(scope: Scope[Any], work: Work, state: State = State.PENDING) -> None:
    """Abandon the newest attempt, be it one that the status does not know of yet."""
    number = attempts.newest(work, attempts.of(scope.view, work))
    work.status.attempt = number if number >= 0 else None
    work.abandon(state)


def input_changed(start: Startable | Blocker, work: Work) -> TypeGuard[Startable]:
    """Whether work was done, or is being done, on something else than what is there now."""
    return isinstance(start, Startable) and work.status.input is not None and work.status.input != start.input


def is_input(start: Startable | Blocker, work: Work) -> TypeGuard[Startable]:
    """Whether what is there now is what work was done, or is being done, on."""
    return isinstance(start, Startable) and work.status.input == start.input
