"""What happens to files: they are cut off, emptied, deleted."""

from __future__ import annotations

from pathlib import Path


def halve(path: Path) -> None:
    """Its first half is left."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    """Nothing of its content is left."""
    path.write_bytes(b"")


def gone(path: Path) -> None:
    """It is not there."""
    path.unlink()
