"""Checkpoints are written by a thread while training goes on. It holds one snapshot: the next is taken when that is on disk."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import Fault, StorageFault

from ..session.setup import CheckpointHook
from .snapshot import Snapshot, SnapshotMemory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Written:
    """A checkpoint that is on disk: finished epochs, iterations of the next one, sha256, seconds that it took."""

    epoch: int
    iteration: int
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Job:
    snapshot: Snapshot
    names: Sequence[str]
    position: tuple[int, int]
    begun: float


class CheckpointWriter:
    """Writes snapshots into a fold's folder, one at a time, from a thread of its own.

    Args:
        folder: the fold's.
        device: of the training.
        keep_previous: keep the latest checkpoint but one.
        written: called from the thread with each name of a checkpoint that is on disk, its finished epochs and its sha256.
    """

    def __init__(self, folder: Path, device: torch.device, *, keep_previous: bool, written: CheckpointHook | None = None) -> None:
        self.folder, self._keep_previous, self._hook = folder, keep_previous, written
        self.memory = SnapshotMemory(device)
        self.last: Written | None = None
        self.fault: StorageFault | None = None
        """Why the newest one is not on disk."""
        self.fault_names: Sequence[str] = ()
        self._failed: BaseException | None = None
        self._job: _Job | None = None
        self._closed = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    @property
    def busy_seconds(self) -> float | None:
        """How long the one that is being written has taken so far; None when none is."""
        job = self._job
        return None if job is None else time.monotonic() - job.begun

    def write(self, content: dict[str, Any], names: Sequence[str]) -> None:
        """Take a snapshot, and let the thread write it under all these names. The thread must be free (`wait`).

        Args:
            content: of the checkpoint; it may change as soon as this returns.
            names: of files in the folder; the file is written once.
        """
        assert self._job is None
        began = time.monotonic()
        snapshot = self.memory.take(content)
        with self._condition:
            self._job = _Job(snapshot, names, checkpoint.position(content), began)
            self._condition.notify_all()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the thread is free, at most so long. Returns whether it is.

        Raises:
            Exception: what it did not foresee.
        """
        with self._condition:
            free = self._condition.wait_for(lambda: self._job is None, seconds)
        self.check()
        return free

    def check(self) -> None:
        """Raise what the thread met and did not foresee."""
        if self._failed is not None:
            raise self._failed

    def close(self, seconds: float | None = None) -> None:
        """Write what was handed over, and end; a disk that hangs is left after so many seconds."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._job is not None or self._closed)
                job = self._job
            if job is None:
                return
            try:
                digest = self._write(job)
            except StorageFault as fault:
                self.fault, self.fault_names = fault, job.names
            except BaseException as error:
                self._failed = error
            else:
                self.fault, self.last = None, Written(*job.position, digest, time.monotonic() - job.begun)
            with self._condition:
                self._job = None
                self._condition.notify_all()

    def _write(self, job: _Job) -> str:
        content = job.snapshot.wait()
        first, *others = (self.folder / name for name in job.names)
        if first.name == checkpoint.LATEST and self._keep_previous:
            checkpoint.keep_previous(first)
        digest = checkpoint.save(first, content)
        for other in others:
            checkpoint.name_also(first, other, digest)
        for path in (first, *others) if self._hook is not None else ():
            try:
                self._hook(path, job.position[0], digest)  # type: ignore[misc]
            except (OSError, Fault) as error:  # it is on disk all the same
                log.warning("%s is written, but not passed on: %s", path.name, error)
        return digest
