"""Files that each rank wrote into its own folder, brought to the first rank's: nodes of a training share no disk."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from . import distributed

CHUNK_BYTES = 8 * 2**20

Listed = list[tuple[str, int]]
"""Paths below the root, and sizes in bytes."""


def gather(
    root: Path, files: Iterable[Path], group: dist.ProcessGroup | None, check: Callable[[], None] | None = None
) -> list[Path]:
    """Copy this rank's files to where the first rank has the same root. Every rank calls this; all wait for the last one.

    Args:
        root: of this rank.
        files: of this rank, below `root`, whole.
        group: of `distributed.patient`; None: there is nobody to bring them to.
        check: called while waiting; what it raises ends that.

    Returns:
        On the first rank the files that came; those of ranks that share its folder do not travel.
    """
    if group is None:
        return []
    distributed.meet(group, check)
    shared = _shares_with_first(root, group)
    own: Listed = [] if shared else sorted((path.relative_to(root).as_posix(), path.stat().st_size) for path in files)
    first = dist.get_rank(group) == 0
    everyones: list[Any] | None = [None] * dist.get_world_size(group) if first else None
    dist.gather_object(own, everyones, dst=0, group=group)
    came = []
    if everyones is not None:
        for rank, listed in enumerate(everyones):
            for name, size in listed:
                came.append(root / name)
                _receive(came[-1], size, rank, group)
    else:
        for name, size in own:
            _send(root / name, size, group)
    distributed.meet(group, check)
    return came


def _shares_with_first(root: Path, group: dist.ProcessGroup) -> bool:
    """Whether this rank sees what the first one writes. The first one does."""
    box = [f".seen-{uuid.uuid4().hex}"]
    dist.broadcast_object_list(box, 0, group=group)
    token, first = root / box[0], dist.get_rank(group) == 0
    if first:
        root.mkdir(parents=True, exist_ok=True)
        token.touch()
    distributed.meet(group)
    sees = token.exists()
    distributed.meet(group)
    if first:
        token.unlink()
    return sees


def _send(path: Path, size: int, group: dist.ProcessGroup) -> None:
    with path.open("rb") as file:
        for length in _lengths(size):
            part = torch.empty(length, dtype=torch.uint8)
            if file.readinto(memoryview(part.numpy())) != length:  # type: ignore[attr-defined]
                raise OSError(f"{path} became shorter while it was sent")
            dist.send(part, dst=0, group=group)


def _receive(path: Path, size: int, rank: int, group: dist.ProcessGroup) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with beside.open("wb") as file:
        for length in _lengths(size):
            part = torch.empty(length, dtype=torch.uint8)
            dist.recv(part, src=rank, group=group)
            file.write(memoryview(part.numpy()))
    os.replace(beside, path)


def _lengths(size: int) -> Iterable[int]:
    return (min(CHUNK_BYTES, size - start) for start in range(0, size, CHUNK_BYTES))
