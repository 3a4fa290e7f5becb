"""Files of the storage into a folder: each whole and checked, none over another in silence, what is there already left alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nnunet_trainer.artifacts import digests
from nnunet_trainer.artifacts.parallel import for_each
from nnunet_trainer.artifacts.store import ObjectStore
from nnunet_trainer.contract.faults import BadData, BadUsage

from .fold_files import WantedFile

MOST_NAMED = 8
SMALL = 2**26
"""Bytes up to which a file without a digest is read, to compare it with the one that is there: a fingerprint of many cases is."""


@dataclass(slots=True)
class Fetched:
    """What became of some files: how many, and how many bytes."""

    files: int = 0
    size: int = 0
    there: int = 0


class Comparison(NamedTuple):
    """What a folder lacks of some files (of these the names of those that are there and differ), and how many it has."""

    store: ObjectStore
    missing: list[WantedFile]
    differ: list[str]
    there: int


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other call fetch into this folder meanwhile; one that does is waited for: it decides what is there already.

    Raises:
        BadUsage: it is a file.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise BadUsage("InvalidArguments", f"{folder} is a file; a folder to fetch into was expected.") from error
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another fetch into {folder} goes on: waiting for it.", file=sys.stderr, flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()
        os.close(descriptor)


def compare(store: ObjectStore, wanted: Sequence[WantedFile], folder: Path) -> Comparison:
    """Look at what is there. What is the same is not to be fetched again: a call that was interrupted is simply repeated.

    Args:
        store: where they lie.
        wanted: which.
        folder: the one that stands for nnUNet_results.
    """
    missing = [file for file in wanted if not _is_there(store, file, folder / file.target)]
    differ = [file.target for file in missing if os.path.lexists(folder / file.target)]
    return Comparison(store, missing, differ, len(wanted) - len(missing))


def refuse(differ: Sequence[str], folder: Path) -> None:
    """Write over nothing.

    Raises:
        BadUsage: there are files that differ.
    """
    if differ:
        more = [f"and {len(differ) - MOST_NAMED} more"] if len(differ) > MOST_NAMED else []
        raise BadUsage(
            "FilesDiffer",
            f"{folder} holds files of these names that are not the same; nothing was fetched:",
            findings=[*differ[:MOST_NAMED], *more],
            hint="Fetch into another folder, or write over them by --overwrite.",
        )


def download(compared: Comparison, folder: Path) -> Fetched:
    """Fetch what is missing, and what differs.

    Raises:
        BadData: an object is not what it should be.
    """
    for_each(compared.missing, lambda file: _bring(compared.store, file, folder / file.target))
    return Fetched(files=len(compared.missing), size=sum(file.size for file in compared.missing), there=compared.there)


def _is_there(store: ObjectStore, file: WantedFile, target: Path) -> bool:
    if not target.is_file() or target.stat().st_size != file.size:
        return False
    if file.sha256 is not None:
        return digests.of_file(target) == file.sha256
    return file.size <= SMALL and store.get(file.key) == target.read_bytes()


def _bring(store: ObjectStore, file: WantedFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".fetching-{target.name}")
    try:
        store.get_file(file.key, beside)
        size, digest = beside.stat().st_size, digests.of_file(beside) if file.sha256 else None
        if size != file.size or digest != file.sha256:
            text = f"{store.uri(file.key)} has another content than it should: {size} bytes, expected {file.size}"
            expected = f", sha256 {file.sha256[:16]}…" if file.sha256 else ""
            raise BadData(
                "ArtifactDamaged", f"{text}{expected}. It was not kept.", hint="Fetch it once more; is the storage sound?"
            )
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def total(results: Iterable[Fetched]) -> Fetched:
    """All of them in one."""
    whole = Fetched()
    for each in results:
        whole.files, whole.size, whole.there = whole.files + each.files, whole.size + each.size, whole.there + each.there
    return whole


def readable_size(size: float) -> str:
    """`512 B`, `1.5 MiB`"""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
