"""`spec.rerun`: a new value ends a terminal failure and tries again. And what follows when the input of finished work changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...api import reasons
from ...api.common import State
from ...api.training_run import FoldStatus
from ..observed import attempts
from ..scope import Scope
from ..status import events
from ..work import Blocker, Ready, Work


def asked(scope: Scope[Any]) -> bool:
    """Whether spec.rerun has a value that was not acted upon yet; from now on it has."""
    wanted = scope.view.object.spec.rerun
    if wanted is None or wanted == scope.status.rerun_observed:
        return False
    # At the first sight of an object nothing has failed yet.
    first = scope.status.observed_generation is None
    scope.status.rerun_observed = wanted
    return not first


def tell(scope: Scope[Any], what: str) -> None:
    """Say what a new value of spec.rerun does."""
    scope.out.events.append(events.say(reasons.RERUN, f"spec.rerun is {scope.view.object.spec.rerun!r}: {what}"))


def failed(scope: Scope[Any], works: Iterable[Work]) -> list[Work]:
    """Try again what has failed, at once and with a full budget; what waits for its next attempt too. Returns it."""
    found = [work for work in works if work.status.state in (State.FAILED, State.BACKING_OFF)]
    for work in found:
        again(scope, work)
    return found


def tell_tried(scope: Scope[Any], tried: Iterable[Work]) -> None:
    """Say what is tried again."""
    titles = ", ".join(dict.fromkeys(work.title for work in tried))
    tell(scope, f"{titles}: tried again" if titles else "nothing had failed, and nothing has changed: all stays as it is")


def again(scope: Scope[Any], work: Work) -> None:
    """Do a piece of work again from the start of its budget, by a new attempt."""
    leave(scope, work)
    status = work.status
    status.restarts = status.disruptions_without_progress = status.reports_missed = status.out_of_memory = 0
    status.input = None
    if isinstance(status, FoldStatus):
        status.running_seconds = status.running_since = None


def leave(scope: Scope[Any], work: Work, state: State = State.PENDING) -> None:
    """Abandon the newest attempt, be it one that the status does not know of yet."""
    number = attempts.newest(work, attempts.of(scope.view, work))
    work.status.attempt = number if number >= 0 else None
    work.abandon(state)


def changed(work: Work, start: Ready | Blocker) -> bool:
    """Whether work was done, or is being done, on something else than what is there now."""
    return isinstance(start, Ready) and work.status.input is not None and work.status.input != start.input
