"""`spec.maxParallelFolds`: how many folds have a Job at a time."""

from __future__ import annotations

from collections.abc import Iterable

from ...api import reasons
from ...api.common import State
from ..blocker import Blocker
from ..work import ACTIVE, Startable, Work


def limit(works: Iterable[Work], work: Work, most: int, start: Startable | Blocker) -> Startable | Blocker:
    """Let a fold start while there is room. A fold that is about to try again keeps its place."""
    holding = (*ACTIVE, State.BACKING_OFF)
    if isinstance(start, Blocker) or work.status.state in holding:
        return start
    others = [other for other in works if other is not work and other.status.state in holding]
    if len(others) < most:
        return start
    ahead = ", ".join(other.title for other in others)
    return Blocker(reasons.WAITING_FOR_ROOM, f"{work.title} waits for {ahead} (spec.maxParallelFolds is {most})")
