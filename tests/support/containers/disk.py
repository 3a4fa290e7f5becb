"""A small disk that really gets full, where this machine lets one be mounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoDisk(Exception):
    """Why none can be mounted here."""


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """A tmpfs of this size at `folder`.

    Raises:
        NoDisk: not here, and why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount(folder, f"size={kib}k")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path, kib: int) -> None:
    """Give the disk more room."""
    _mount(folder, f"remount,size={kib}k")


def _mount(folder: Path, options: str) -> None:
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise NoDisk(str(error)) from error
    if done.returncode:
        raise NoDisk(done.stderr.strip())
