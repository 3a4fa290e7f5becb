"""sha256 of files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """One file of an artifact: its path in it, its size in bytes, the sha256 of its content."""

    path: str
    size: int
    sha256: str


def of_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry(path: Path, name: str) -> FileEntry:
    """A file's entry under a name."""
    return FileEntry(path=name, size=path.stat().st_size, sha256=of_file(path))
