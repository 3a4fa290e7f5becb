"""The one protocol that artifacts are kept behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..contract.faults import BadData


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object. `tag` changes when the object does: an ETag, or a file's modification time in nanoseconds."""

    key: str
    size: int
    tag: str


class ObjectStore(Protocol):
    """Objects by key below one URI. Keys are relative, with `/` between their parts.

    Every method raises `BadConfiguration` for what another attempt would meet again (refused credentials, no such bucket) and
    `StorageFault` for what it may not (unreachable, full). All may be called from several threads.
    """

    root: str

    def uri(self, key: str = "") -> str:
        """The whole URI of a key."""

    def stat(self, key: str) -> ObjectInfo | None:
        """One object's size and tag, or None when there is none."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose keys begin with `prefix`, sorted by key."""

    def get(self, key: str) -> bytes:
        """A small object's content. Raises `ObjectNotFound`."""

    def put(self, key: str, data: bytes) -> None:
        """Write a small object; a reader sees the old content or the new, never a part."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; of several at once, one wins. Returns whether it was this call."""

    def get_file(self, key: str, path: Path) -> None:
        """Stream an object into a file, which appears when it is whole. Raises `ObjectNotFound`."""

    def put_file(self, path: Path, key: str) -> None:
        """Stream a file into an object, which appears when it is whole."""

    def copy(self, key: str, target: str, size: int) -> bool:
        """Make an object of another one, of `size` bytes, within the store. False: the store cannot, or has not; put the file."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""

    def discard_unfinished(self, prefix: str, part: str = "") -> int:
        """Remove what writers that died left of objects whose keys begin with `prefix` and hold `part`; returns of how many."""

    def local_path(self, key: str) -> Path | None:
        """The object as a file of this machine, which must not be changed; None when it is elsewhere."""


class ObjectNotFound(BadData):
    """There is no object of that key."""

    def __init__(self, uri: str) -> None:
        super().__init__("ObjectNotFound", f"There is no {uri}.")
