"""An object that a spec names, and why one has to wait for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...api import reasons
from ...api.conditions import READY, STALLED, find, is_true
from ...api.resources import Resource
from ..blocker import Blocker
from ..status.sentences import first_sentence

R = TypeVar("R", bound=Resource)

WAITING = {
    "Dataset": reasons.WAITING_FOR_DATASET,
    "Plans": reasons.WAITING_FOR_PLANS,
    "PlanTransfer": reasons.WAITING_FOR_PLANS,
    "TrainingRun": reasons.WAITING_FOR_TRAINING_RUN,
}
DELETED = ". If it was deleted (by ttlSecondsAfterFinished, or by hand), apply it again, and it finds its results in the storage"
HEALS = "See there; this goes on by itself once that is mended."


@dataclass(frozen=True, kw_only=True, slots=True)
class Referenced(Generic[R]):
    """An object that `field` of a spec names, as it is in this pass."""

    kind: str
    name: str
    field: str
    object: R | None = None
    """None: it does not exist, or it cannot be read."""
    unreadable: Resource | None = None
    """What stands for it when it cannot be read."""

    def once(self, condition: str) -> R | Blocker:
        """The object once a condition of it is True, or why it is not."""
        if self.object is not None and is_true(self.object.status.conditions, condition):
            return self.object
        return self.wait(f"to be {condition}")

    def wait(self, until: str) -> Blocker:
        """Why one has to wait for it."""
        found = self.object or self.unreadable
        if found is None:
            return Blocker(WAITING[self.kind], f"waits for {self.kind} {self.name} ({self.field}), which does not exist")
        return waiting_for(found, until)


def waiting_for(found: Resource, until: str) -> Blocker:
    """Why one has to wait for an object that exists, in its own words."""
    what = f"{found.kind} {found.metadata.name}"
    ready = find(found.status.conditions, READY)
    if is_true(found.status.conditions, STALLED) and ready is not None:
        return dependency_failed(what, ready.reason, ready.message)
    # Its reason alone: its message changes with every epoch, and would be written to all who wait.
    now = f"; it is {ready.reason}" if ready else ""
    return Blocker(WAITING[found.kind], f"waits for {what} {until}{now}")


def dependency_failed(what: str, reason: str, message: str) -> Blocker:
    """A dependency that does not go on by itself: what is behind it, in one sentence, and where the rest stands."""
    if reason == reasons.DEPENDENCY_FAILED:
        # It only passes on what it was told: the object that failed is named once, however long the chain is.
        text = f"by way of {what}: {_behind(message)}"
    else:
        text = f"{what} is stalled ({reason}): {first_sentence(message)}. {HEALS}"
    return Blocker(reasons.DEPENDENCY_FAILED, text)


def _behind(message: str) -> str:
    return re.sub(r"^by way of [^:]*: ", "", message)
