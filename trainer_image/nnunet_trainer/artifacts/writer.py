"""Artifacts are written part by part, and the manifest last, so that a half-written one is never taken for whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..contract.json_text import codec
from ..contract.keys import MANIFEST
from . import digests
from .artifact import Manifest
from .digests import FileEntry
from .store import ObjectStore


class ArtifactWriter:
    """Writes the parts, then the manifest. May be used from several threads."""

    def __init__(self, store: ObjectStore, prefix: str, kind: str, digest: str) -> None:
        self.store, self.prefix, self.kind, self.digest = store, prefix, kind, digest
        self._files: dict[str, FileEntry] = {}
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        return self.store.uri(self.prefix)

    @property
    def size(self) -> int:
        """Bytes of all parts so far."""
        return sum(entry.size for entry in self._files.values())

    def key(self, path: str) -> str:
        return f"{self.prefix}/{path}"

    def put_bytes(self, path: str, data: bytes) -> FileEntry:
        self.store.put(self.key(path), data)
        return self.add(FileEntry(path=path, size=len(data), sha256=digests.of_bytes(data)))

    def put_json(self, path: str, value: Any) -> FileEntry:
        return self.put_bytes(path, as_json(value))

    def put_file(self, path: str, source: Path, there: Callable[[FileEntry], str | None] = lambda entry: None) -> FileEntry:
        """Write a part.

        Args:
            path: its name in the artifact.
            source: the file.
            there: the key of an object in the same store that has this content already, if there is one: it is copied.
        """
        entry = digests.entry(source, path)
        key = there(entry)
        if key is None or not self.store.copy(key, self.key(path), entry.size):
            self.store.put_file(source, self.key(path))
        return self.add(entry)

    def add(self, entry: FileEntry) -> FileEntry:
        """Name a part in the manifest that somebody has written already."""
        with self._lock:
            self._files[entry.path] = entry
        return entry

    def finish(self, summary: dict[str, Any], inputs: dict[str, Any] | None = None, *, over: bool = False) -> bool:
        """Write the manifest. Returns False when another writer's was there first; what counts is then in that one.

        Args:
            summary: what the report says.
            inputs: what it was made from.
            over: replace another's, all of whose files were written over.
        """
        files = [self._files[path] for path in sorted(self._files)]
        manifest = Manifest(kind=self.kind, digest=self.digest, files=files, summary=summary, inputs=inputs or {})
        text = as_json(codec.to_plain(manifest))
        if over:
            self.store.put(self.key(MANIFEST), text)
            return True
        return self.store.put_if_absent(self.key(MANIFEST), text)


def as_json(value: Any) -> bytes:
    """JSON as people read it, in the key order given."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
