"""Checkpoint files on a disk: written beside, made safe from a power cut, then named; one file may have several names.

Beside each file stands `<file>.sha256` in the format of sha256sum. While a file is replaced it holds two lines, the new digest and
the old one, so that whichever file a crash leaves behind is known to be whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from nnunet_trainer.contract.faults import StorageFault

PREVIOUS = "checkpoint_previous.pth"
WITHOUT_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
"""What some network and FUSE volumes answer."""
FULL = (errno.ENOSPC, errno.EDQUOT)


class _Hashing:
    """A file that takes the digest of what is written to it.

    torch writes its archive from C++ and makes "unexpected pos" of any error: the first one is kept here, the rest goes nowhere.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
            self.sha.update(data)
        return len(data)

    def flush(self) -> None:
        pass


def save(path: Path, content: dict[str, Any]) -> str:
    """Write a checkpoint so that a crash or a power cut at any moment leaves the old or the new one, whole.

    Returns:
        Its sha256.

    Raises:
        StorageFault: the disk is full or cannot be written.
    """
    with _written_beside(path) as beside:
        with beside.open("wb") as file:
            hashing = _Hashing(file)
            torch.save(content, hashing)  # type: ignore[arg-type]
            if hashing.error is not None:
                raise hashing.error
            file.flush()
            os.fsync(file.fileno())
        digest = hashing.sha.hexdigest()
        _put_in_place(beside, path, digest)
    return digest


def name_also(path: Path, other: Path, digest: str) -> None:
    """Give a checkpoint another name besides: both are one file, where the file system has hard links.

    Raises:
        StorageFault: the disk is full or cannot be written.
    """
    with _written_beside(other) as beside:
        try:
            os.link(path, beside)
        except OSError as error:
            if error.errno not in WITHOUT_HARD_LINKS:
                raise
            _copy(path, beside)
        _put_in_place(beside, other, digest)


def separate(paths: Iterable[Path]) -> None:
    """Make those that are one file (`name_also`) files of their own: nnU-Net writes into the file that a name has.

    Raises:
        StorageFault: the disk is full or cannot be written.
    """
    seen = set()
    for path in paths:
        if not path.exists():
            continue
        found = path.stat()
        if found.st_nlink > 1 and (found.st_dev, found.st_ino) in seen:
            with _written_beside(path) as beside:
                _copy(path, beside)
                os.replace(beside, path)
                _sync_folder(path.parent)
        seen.add((found.st_dev, found.st_ino))


def _copy(path: Path, beside: Path) -> None:
    shutil.copyfile(path, beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _written_beside(path: Path) -> Iterator[Path]:
    """A hidden name in the file's own folder to write to; gone at the end when it was not renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        yield beside
    except OSError as error:
        hint = "Free some space; in a pod, give it more scratch space (spec.template.scratch)." if error.errno in FULL else ""
        message = f"{path} cannot be written: {error.strerror or error}."
        raise StorageFault("CheckpointNotWritten", message, hint=hint) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _put_in_place(beside: Path, path: Path, digest: str) -> None:
    _write_digests(path, [digest, *digests(path)])
    _sync_folder(path.parent)  # the new digest is on the disk before the file is
    os.replace(beside, path)
    _sync_folder(path.parent)
    _write_digests(path, [digest])


def _write_digests(path: Path, all_digests: Iterable[str]) -> None:
    sidecar = sidecar_of(path)
    beside = sidecar.with_name(f".{sidecar.name}.{os.getpid()}.part")
    try:
        with beside.open("w") as file:
            file.writelines(f"{digest}  {path.name}\n" for digest in all_digests)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, sidecar)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def sidecar_of(path: Path) -> Path:
    """The file with a checkpoint's digest."""
    return path.with_name(path.name + ".sha256")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digests(path: Path) -> list[str]:
    """The digests that a checkpoint may have; none for a file without `.sha256` (nnU-Net's own)."""
    try:
        text = sidecar_of(path).read_text(errors="replace")
    except FileNotFoundError:
        return []
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def sha256(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Delete a checkpoint and its digest."""
    path.unlink(missing_ok=True)
    sidecar_of(path).unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed process was writing."""
    for path in folder.glob(".checkpoint_*.part"):
        path.unlink(missing_ok=True)


def keep_previous(path: Path) -> None:
    """Give the checkpoint at `path` the name of the previous one, before a newer one is written.

    Raises:
        StorageFault: the disk is full or cannot be written.
    """
    if not path.exists():
        return
    previous = path.with_name(PREVIOUS)
    try:
        own = digests(path)
        _write_digests(previous, [*own, *digests(previous)])
        os.replace(path, previous)
        _write_digests(previous, own)
    except OSError as error:
        raise StorageFault("CheckpointNotWritten", f"{previous} cannot be written: {error.strerror or error}.") from error
