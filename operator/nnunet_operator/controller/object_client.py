"""What carrying out an Outcome needs of whoever keeps the objects: an API server, or the local store."""

from __future__ import annotations

from typing import Protocol

from ..reconcile.view import Key, Manifest


def key_of(manifest: Manifest) -> Key:
    """The identity of an object."""
    meta = manifest["metadata"]
    return Key(manifest["kind"], meta["namespace"], meta["name"])


class Rejected(Exception):
    """An object is not accepted: a quota, admission, a schema, a missing right, an immutable field.

    `reason` is CamelCase, such as `Forbidden`; the text is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class AlreadyExists(Exception):
    """There is an object of this kind and name."""


class Outdated(Exception):
    """The object changed while it was reconciled. What was decided is not to be written; the newer version is reconciled again."""


class ObjectClient(Protocol):
    """Reads and writes objects.

    Beside the errors named here, methods raise what shows that there was no answer; then nothing is known, and the whole
    pass is made again later.
    """

    def known(self, key: Key) -> Manifest | None:
        """The newest version that is known without asking."""

    async def get(self, key: Key) -> Manifest | None:
        """An object as it is now.

        Raises:
            Rejected: it may not be read.
        """

    async def apply(self, manifest: Manifest, *, force: bool) -> bool:
        """Server-side apply under the operator's one field owner; whether anything was written.

        Args:
            force: take fields that others own.

        Raises:
            Rejected: it is not accepted.
        """

    async def create(self, manifest: Manifest) -> Manifest:
        """Add an object; as it is now.

        Raises:
            AlreadyExists, Rejected.
        """

    async def merge(self, key: Key, change: Manifest) -> bool:
        """Merge patch (RFC 7386); False when there is no such object."""

    async def write_finalizers(self, about: Manifest, finalizers: list[str]) -> None:
        """Make these all finalizers of `about`, as that was read; an object that is being deleted goes with its last one.

        Raises:
            Outdated: there is a newer version.
        """

    async def is_terminating(self, namespace: str) -> bool:
        """Whether a namespace is being deleted."""

    async def delete(self, key: Key, uid: str) -> bool:
        """Delete this very object (empty uid: whichever bears the name); whether a known object went or is on its way.

        That it is gone already is no error.
        """

    async def write_status(self, about: Manifest, status: Manifest) -> bool:
        """Make `status` the whole status of `about`, as that was read; nothing is written when it is so already.

        Whether it is stored so now: not where the object is gone, or where the server has made something else of it.

        Raises:
            Outdated: there is a newer version.
        """

    def learn(self, manifest: Manifest) -> None:
        """Take what was read or written as known."""
