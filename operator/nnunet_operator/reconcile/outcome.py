"""All that a reconciler decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from nnunet_trainer.contract.json_text.untrusted_json import printable

from .view import Manifest

LONGEST_EVENT = 1000
"""Characters of an event's message; the API server takes 1,024."""


class Delete(NamedTuple):
    """A child to delete; its pods get their grace period. The uid guards against a namesake; empty: no other can bear the name."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A Kubernetes Event for people. Shells drop repetitions."""

    type: Literal["Normal", "Warning"] = "Normal"
    reason: str
    message: str


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What should be, in the order in which a shell makes it so: apply, create, delete, one status write, events, and what is
    deleted only once that status is stored.

    `apply` is server-side applied (ConfigMaps, Services, our own kinds); `create` is posted, where 409 means that it is there
    already (Jobs: an apply would resurrect a deleted one). `create_missing` is posted too: what was made once, and may have been
    deleted by somebody. `status` is the whole wanted status; equal to the stored one, nothing
    is written. `delete_once_stored` is what only the stored status makes needless: nothing of it goes where that was not stored as
    it is wanted.
    """

    status: dict[str, Any] = field(default_factory=dict)
    apply: list[Manifest] = field(default_factory=list)
    create: list[Manifest] = field(default_factory=list)
    create_missing: list[Manifest] = field(default_factory=list)
    delete: list[Delete] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    delete_once_stored: list[Delete] = field(default_factory=list)
    settled: bool = False  # once that is done, no pass does anything until the object or what it refers to has changed
    look_again: timedelta | None = None
    delete_self: bool = False  # its time to live is over
    finalizers: list[str] | None = (
        None  # those that the object should have; then nothing else is done in this pass, events excepted
    )

    def look_again_in(self, delay: timedelta) -> None:
        """Ask to be reconciled again after `delay`, or sooner when that was asked for already."""
        if self.look_again is None or delay < self.look_again:
            self.look_again = delay

    def record(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Add an event, printable and no longer than the API server takes."""
        message = printable(message)
        text = message if len(message) <= LONGEST_EVENT else message[: LONGEST_EVENT - 1] + "…"
        self.events.append(Event(type="Warning" if warning else "Normal", reason=reason, message=text))
