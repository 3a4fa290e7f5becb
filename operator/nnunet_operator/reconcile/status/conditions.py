"""How an object stands as a whole, from how its pieces of work stand (kstatus: Ready, Reconciling, Stalled)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ...api import conditions as api
from ...api import reasons
from ...api.common import State
from ..blocker import STALLING, Blocker
from ..scope import Scope
from ..work import Work
from .sentences import first_sentence

Summary = Literal["Ready", "Reconciling", "Stalled", "Suspended"]
"""How an object stands as a whole."""

BY_URGENCY = [
    State.RUNNING,
    State.VALIDATING,
    State.STARTING,
    State.QUEUED,
    State.BACKING_OFF,
    State.SUSPENDED,
    State.PENDING,
    State.PLANNED,
    State.FAILED,
    State.SUCCEEDED,
]
"""Which of several pieces of work gives the object its reason."""

MOST_MESSAGES = 6
"""Pieces of work whose messages are joined."""


def summary(works: Sequence[Work]) -> Summary:
    """In one word: going on as long as anything can go on without a person."""
    open_ = [work for work in works if not work.status.state.finished]
    if not open_:
        return "Stalled" if any(work.status.state is State.FAILED for work in works) else "Ready"
    if all(_stalls(work) for work in open_):
        return "Stalled"
    if all(work.status.state is State.SUSPENDED for work in open_ if not _stalls(work)):
        return "Suspended"
    return "Reconciling"


def set_summary(scope: Scope[Any], works: Sequence[Work], reason: str, message: str) -> None:
    """How all of this work stands, as Ready, Reconciling and Stalled; `reason` and `message` are those of the good end."""
    overall = summary(works)
    if overall != "Ready":
        reason, message = explain(works, overall)
        scope.announced = overall == "Reconciling" and most_urgent(works, overall)[0].status.state is State.BACKING_OFF
    set_ready(scope, overall, reason, message)


def set_ready(scope: Scope[Any], overall: Summary, reason: str, message: str) -> None:
    """Write Ready, Reconciling and Stalled, the three conditions that tools read."""
    generation, now, old = scope.view.object.metadata.generation, scope.now, scope.status.conditions
    short = first_sentence(message)  # Ready says all of it
    match overall:
        case "Ready":
            scope.status.conditions = api.ready(old, reason, message, now=now, generation=generation)
        case "Reconciling":
            scope.status.conditions = api.reconciling(old, reason, message, short=short, now=now, generation=generation)
        case "Stalled":
            scope.status.conditions = api.stalled(old, reason, message, short=short, now=now, generation=generation)
        case "Suspended":
            kept = api.drop_condition(old, api.RECONCILING, api.STALLED)
            scope.status.conditions = api.set_condition(kept, api.READY, False, reason, message, now=now, generation=generation)


def set_blocked(scope: Scope[Any], blocker: Blocker) -> None:
    """Nothing of it can start."""
    set_ready(scope, "Stalled" if blocker.stalls else "Reconciling", blocker.reason, blocker.message)


def set_own(scope: Scope[Any], kind: str, status: bool | Literal["Unknown"], reason: str, message: str) -> None:
    """One of the kind's own conditions."""
    scope.status.conditions = api.set_condition(
        scope.status.conditions,
        kind,
        status if isinstance(status, bool) else "Unknown",
        reason,
        message,
        now=scope.now,
        generation=scope.view.object.metadata.generation,
    )


def explain(works: Sequence[Work], overall: Summary) -> tuple[str, str]:
    """The reason of the piece of work that matters most, and what there is to say of all."""
    shown = most_urgent(works, overall)
    failed = [work for work in works if work.status.state is State.FAILED]
    reason = reasons.FOLDS_FAILED if overall == "Stalled" and len({w.status.reason for w in failed}) > 1 else shown[0].status.reason
    texts = list(dict.fromkeys(_text(work) for work in shown))
    joined = "; ".join(text.rstrip(".") if len(texts) > 1 else text for text in texts[:MOST_MESSAGES])
    more = f"; and {len(texts) - MOST_MESSAGES} more" if len(texts) > MOST_MESSAGES else ""
    return reason or reasons.STARTING, joined + more


def most_urgent(works: Sequence[Work], overall: Summary) -> list[Work]:
    """What is not done, in the order in which it is told."""
    shown = [work for work in works if work.status.state is not State.SUCCEEDED]
    if overall == "Reconciling":
        # A fold that has failed is said behind those that go on.
        moving = [work for work in shown if not _stalls(work) and not work.status.state.finished]
        shown = [*moving, *(work for work in shown if work not in moving)]
    shown.sort(key=lambda work: BY_URGENCY.index(work.status.state if work.status.state.known else State.PENDING))
    if overall == "Stalled":
        shown.sort(key=lambda work: work.status.state is not State.FAILED)
    return shown


def _text(work: Work) -> str:
    if not work.status.state.known:
        state = work.status.state.value
        return f"{work.title} is {state}, a state that only another version of the operator knows: it is left as it is"
    return work.status.message or work.status.state.value


def _stalls(work: Work) -> bool:
    return work.status.state in (State.PENDING, State.STARTING, State.BACKING_OFF) and work.status.reason in STALLING
