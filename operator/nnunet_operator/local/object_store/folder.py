"""The files of an object store: `objects/<Kind>/<namespace>/<name>.json`, a counter of writes, and two locks.

Every write goes to a file beside, which then takes the name, under a lock that is held for that one write: a reader sees whole
objects, and a kill at any moment leaves the old or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, Temporary

from .json_copy import copied

Manifest = dict[str, Any]

FORMAT = 1


class ObjectFolder:
    """Objects as files; what they mean is the store's.

    Args:
        root: the folder; it is made when it is not there.

    Raises:
        BadUsage: the folder is something else's, or of another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._objects = self.root / "objects"
        self._cache: dict[str, tuple[tuple[int, int, int], Manifest]] = {}
        marker = self.root / "store.json"
        if not marker.exists():
            if self.root.exists() and any(self.root.iterdir()) and not self._objects.exists():
                raise BadUsage("NotAStore", f"{self.root} holds something else.", hint="Name another folder by --store.")
            self._objects.mkdir(parents=True, exist_ok=True)
            write_text(marker, json.dumps({"format": FORMAT}))
        found = json.loads(marker.read_text()).get("format")
        if found != FORMAT:
            raise BadUsage(
                "StoreFormat", f"{self.root} is of format {found}; this version knows {FORMAT}.", hint="Name another by --store."
            )

    def path(self, kind: str, namespace: str, name: str) -> Path:
        """Where an object lies, or would lie.

        Raises:
            BadUsage: no name that an object may have.
        """
        if not all(part and "/" not in part and not part.startswith(".") for part in (kind, namespace, name)):
            raise BadUsage("InvalidName", f"{kind} {namespace}/{name} is no name of an object.")
        return self._objects / kind / namespace / f"{name}.json"

    def all(self, kind: str, namespace: str | None = None) -> Iterator[Manifest]:
        """The objects of a kind, in no order. They are the folder's own copies, as of `read`."""
        # Names and times are asked of the system alone: this is asked for many times a second.
        folder = f"{self._objects}/{kind}"
        for each in [namespace] if namespace else _names(folder):
            for name in _names(f"{folder}/{each}"):
                if name.endswith(".json") and not name.startswith(".") and (item := self._read(f"{folder}/{each}/{name}")):
                    yield item

    def kinds(self) -> list[str]:
        """The kinds that have objects."""
        return sorted(entry.name for entry in self._objects.iterdir() if entry.is_dir())

    def read(self, path: Path) -> Manifest | None:
        """An object, or None. It is the folder's own copy: not to be changed."""
        return self._read(str(path))

    def _read(self, path: str) -> Manifest | None:
        signature = _signature(path)
        if signature is None:
            self._cache.pop(path, None)
            return None
        held = self._cache.get(path)
        if held is None or held[0] != signature:
            try:
                held = signature, json.loads(Path(path).read_bytes())
            except FileNotFoundError:
                return None
            self._cache[path] = held
        return held[1]

    def write(self, path: Path, manifest: Manifest) -> Manifest:
        """Write an object under the next resourceVersion; a copy of what was written."""
        revision = self.revision() + 1
        manifest["metadata"]["resourceVersion"] = str(revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(manifest, indent=1))
        self._count(revision)
        return copied(manifest)

    def remove(self, path: Path) -> None:
        """Remove an object's file."""
        path.unlink(missing_ok=True)
        self._cache.pop(str(path), None)
        self._count(self.revision() + 1)

    def revision(self) -> int:
        """The number of the newest write; another number means that something has changed."""
        try:
            return int((self.root / "revision").read_text())
        except FileNotFoundError:
            return 0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who writes, for one read, change and write."""
        handle = os.open(self.root / "write.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Be the one process that starts and stops processes for this store.

        Raises:
            Temporary: another one is.
        """
        path = self.root / "working.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            pid = path.read_text().strip()
            message = f"Process {pid or '?'} works on {self.root} already."
            raise Temporary(
                "StoreInUse", message, hint="Look on with `nnunet-operator local get --watch`, or name another --store."
            ) from None
        try:
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
            yield
        finally:
            os.close(handle)

    def _count(self, revision: int) -> None:
        # After the object, so that whoever sees the new number sees the new object.
        write_text(self.root / "revision", str(revision), sync=False)


def _names(folder: str) -> list[str]:
    """What lies in a folder; nothing where there is none."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _signature(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a file so that a reader sees all of it or nothing; with `sync`, it outlives a loss of power."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w") as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)
