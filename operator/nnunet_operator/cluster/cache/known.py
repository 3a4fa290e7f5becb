"""What is told of an object without unpacking it: who it is, whose it is, and how it stands."""

from __future__ import annotations

from typing import NamedTuple

from ...api.conditions import READY, STALLED, condition_of
from ...reconcile.view import Key, Manifest


def labels_of(manifest: Manifest) -> dict[str, str]:
    """The labels, an empty dictionary when there are none."""
    labels: dict[str, str] = manifest["metadata"].get("labels") or {}
    return labels


class State(NamedTuple):
    """How an object of our kinds stands: status and reason of its condition Ready, and whether it is Stalled."""

    kind: str
    namespace: str
    ready: str
    reason: str
    stalled: bool

    @property
    def at_work(self) -> bool:
        """Whether something is still to be done for it."""
        return not (self.ready == "True" or self.stalled)


class Known(NamedTuple):
    """What is told of an object without unpacking it."""

    uid: str
    version: str
    generation: int | None
    owner: Key | None  # by its labels
    owner_uid: str
    state: State | None  # of our kinds
    settled: bool = False  # this version: what happens to its Jobs' pods is no news to it


def state_of(key: Key, manifest: Manifest) -> State:
    """How an object of our kinds stands, by its conditions."""
    ready = condition_of(manifest, READY)
    stalled = bool(condition_of(manifest, STALLED, "True"))
    return State(key.kind, key.namespace, ready.get("status", "Unknown"), ready.get("reason", ""), stalled)
