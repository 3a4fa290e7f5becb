"""`spec.suspend`: the attempts' Jobs are deleted (grace, checkpoint); resuming starts the next ones, uncounted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ...api import reasons
from ...api.common import State
from ..observed import attempts
from ..turn import Turn
from ..work.work import ACTIVE, Work
from . import deadlines, rerun


def suspend(turn: Turn[Any], works: Iterable[Work]) -> None:
    """Stop what is not finished. A Job that has ended already is read first."""
    for work in works:
        if work.status.state.finished or _has_ended(turn, work):
            continue
        if work.status.state in ACTIVE or _has_unseen(turn, work):
            deadlines.run_clock(work, None, turn.now)
        if work.status.state is not State.SUSPENDED or _has_unseen(turn, work):
            rerun.leave(turn, work, State.SUSPENDED)
        ending = [a for a in attempts.of(turn.view, work).values() if a.alive(turn.now)]
        if ending:
            message = f"{work.title}: {work.attempt} is being stopped; it saves a checkpoint first"
            work.say(State.SUSPENDED, reasons.SUSPENDING, message)
            turn.look_again_at(turn.now + timedelta(seconds=15))
        else:
            work.say(State.SUSPENDED, reasons.SUSPENDED, f"{work.title} is suspended{_place(work)}")


def resume(works: Iterable[Work]) -> None:
    """What was suspended may start again."""
    for work in works:
        if work.status.state is State.SUSPENDED:
            work.say(State.PENDING, reasons.RESUMED, f"{work.title} goes on{_place(work)}")


def _has_ended(turn: Turn[Any], work: Work) -> bool:
    state = attempts.state(work, attempts.of(turn.view, work), turn.now)
    return isinstance(state, (attempts.Succeeded, attempts.Failed, attempts.Unreported))


def _has_unseen(turn: Turn[Any], work: Work) -> bool:
    known = -1 if work.status.attempt is None else work.status.attempt
    return attempts.newest(work, attempts.of(turn.view, work)) > known


def _place(work: Work) -> str:
    return f" at epoch {work.epoch}" if work.epoch is not None else ""
