"""Checkpoints go into the store from a thread of their own, again and again until they are there, while training goes on."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ...artifacts import ObjectStore
from ...artifacts.digests import FileEntry
from ...artifacts.writer import as_json
from ...contract.faults import Fault
from ...contract.json_text import codec
from ...contract.progress import Progress, ProgressHook
from .checkpoints import BEST, Stored
from .patience import Backoff

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A checkpoint that is to go up; `file` is a link of its own to it."""

    file: Path
    stored: Stored


class _Abandoned(Exception):
    """Nobody waits any more for what would be asked of the store."""


class Uploads:
    """Uploads checkpoints. A store that is away does not stop the training: it is said, and asked again until it answers.

    Of checkpoints that wait, only the newest one and the newest best one are kept. Each file has a name that no other has, and its
    description follows it: what is described is whole. The best one of an epoch is the latest one's file.

    Args:
        store: where to.
        prefix: this attempt's.
        keep: how many checkpoints of this attempt stay; the best one is kept besides.
        listener: hears of everything that the training says, with what is in the store added.
        work: a folder of scratch on the checkpoints' own file system.
        backoff: pauses between attempts.
    """

    def __init__(
        self, store: ObjectStore, prefix: str, keep: int, listener: ProgressHook, work: Path, backoff: Backoff | None = None
    ) -> None:
        self.store, self.prefix, self.keep, self.listener, self.work = store, prefix, max(1, keep), listener, work
        self.backoff = backoff or Backoff()
        self.uploaded: list[Stored] = []
        """Those to go on from, the newest last."""
        self._best: Stored | None = None
        self._problem: str | None = None
        self._since: int | None = None
        """The epoch of the first checkpoint that is not in the store."""
        self._failures = 0
        self._waiting: dict[bool, _Waiting] = {}  # by whether it is the best
        self._going_up: _Waiting | None = None
        self._busy = False
        self._count = 0
        self._progress: Progress | None = None
        self._warning: str | None = None
        self._condition = threading.Condition()
        self._closed = False
        self._abandoned = False
        for left in work.glob("checkpoint_*.pth"):  # by a process that was killed
            left.unlink(missing_ok=True)
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)
        self._thread.start()

    def written(self, path: Path, epoch: int, sha256: str) -> None:
        """A checkpoint is on disk. It may be replaced there at any time: a link keeps this one until it is uploaded.

        Raises:
            OSError: the disk has no room for a copy, where links cannot be made.
        """
        best = path.stem == BEST
        self._count += 1
        name = f"{'checkpoint_best' if best else 'checkpoint'}_{epoch:05d}_{self._count:05d}"
        kept = self.work / f"{name}.pth"
        try:
            os.link(path, kept)
        except OSError:
            try:
                shutil.copyfile(path, kept)
            except OSError:
                kept.unlink(missing_ok=True)  # half a copy would keep the disk full
                raise
        stored = Stored(name=name, epoch=epoch, size=kept.stat().st_size, sha256=sha256)
        if best:
            stored = replace(stored, name=BEST, file=name)
        with self._condition:
            self._drop(self._waiting.pop(best, None))
            self._waiting[best] = _Waiting(kept, stored)
            self._failures = 0
            self._condition.notify_all()

    @property
    def problem(self) -> str | None:
        """Why the newest checkpoint is not in the store, or the best one."""
        return self._problem

    @property
    def newest(self) -> Stored | None:
        """The newest one that is in the store."""
        return self.uploaded[-1] if self.uploaded else None

    def key_of(self, entry: FileEntry) -> str | None:
        """Where in the store there is a checkpoint of this content. One that is going up is waited for, as long as that works."""

        def goes_up() -> bool:
            asked = any(job.stored.sha256 == entry.sha256 for job in self._waiting.values())
            return asked and not self._failures and not self._closed

        with self._condition:
            self._condition.wait_for(lambda: self._of_content(entry.sha256) or not goes_up())
            found = self._of_content(entry.sha256)
        return None if found is None else f"{self.prefix}/{found.file_name}"

    def _of_content(self, sha256: str) -> Stored | None:
        return next((s for s in (*self.uploaded, *filter(None, [self._best])) if s.sha256 == sha256), None)

    def hear(self, progress: Progress) -> None:
        """Pass a progress on, with the newest checkpoint that is in the store, and what went wrong with it."""
        self._progress, self._warning = progress, None
        self._tell()

    def say(self, phase: str, warning: str | None) -> None:
        """The last progress again, in another phase, and with one more warning as long as nothing else is said."""
        self._progress, self._warning = replace(self._progress or Progress(step="train"), phase=phase), warning
        self._tell()

    def _tell(self) -> None:
        with self._condition:
            progress = self._progress
            if progress is None:
                return
            progress = replace(progress, checkpoint_epoch=None, checkpoint_sha256=None)  # those on this pod's disk
            if last := self.newest:
                uri = self.store.uri(f"{self.prefix}/{last.file_name}")
                progress = replace(progress, checkpoint_epoch=last.epoch, checkpoint_uri=uri, checkpoint_sha256=last.sha256)
            more = [text for text in (self._problem, self._warning) if text]
        self.listener(replace(progress, warnings=[*(progress.warnings or []), *more] or None))

    def close(self, seconds: float) -> str | None:
        """Upload what waits, and end; a request that takes longer is left to a thread, which makes no other one.

        Returns:
            What is not in the store and why; None when all is.
        """
        with self._condition:
            self._closed = True
            self._failures = 0
            self._condition.notify_all()
        self._thread.join(seconds)
        with self._condition:
            self._abandoned = True
            self._condition.notify_all()
            late = self._thread.is_alive() or bool(self._waiting)
        if late and self._problem is None:
            return f"The newest checkpoint is not in the store: its upload takes longer than the {seconds:.0f} s that are left."
        return self._problem

    def discard(self, seconds: float) -> None:
        """What waits is not needed any more; what is going up has so long to end."""
        with self._condition:
            for left in self._waiting.values():
                self._drop(left)
            self._waiting.clear()
        self.close(seconds)

    def _drop(self, job: _Waiting | None) -> None:
        """It is not needed any more; what is going up is read until it has ended."""
        if job is not None and job is not self._going_up:
            job.file.unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting or self._abandoned:
                    return
                self._busy = True
                best = min(self._waiting)  # the one to go on from first
                job = self._going_up = self._waiting[best]
            try:
                self._upload(job)
            except _Abandoned:
                return
            except Exception as error:
                self._failed(job, error)
            else:
                self._done(best, job)
            with self._condition:
                self._going_up = None
                if self._waiting.get(best) is not job:
                    self._drop(job)
            if not self._closed:
                self._tell()
            if self._failures:
                self._pause(self.backoff.pause(self._failures))

    def _pause(self, seconds: float) -> None:
        """Until it is over, or a newer checkpoint comes, or all ends."""
        until = time.monotonic() + seconds
        with self._condition:
            self._busy = False
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._abandoned or not self._failures or time.monotonic() >= until, seconds)

    def _failed(self, job: _Waiting, error: Exception) -> None:
        text = f"{error.message} {error.hint}".rstrip() if isinstance(error, Fault) else f"{type(error).__name__}: {error}"
        with self._condition:
            self._failures += 1
            self._condition.notify_all()
            self._since = job.stored.epoch if self._since is None else self._since
            # The same words as long as it lasts: it is one warning, not one an epoch.
            problem = f"Checkpoints from epoch {self._since} on are not in the store: {text}"
            if problem != self._problem:
                log.warning("%s", problem)
            self._problem = problem

    def _done(self, best: bool, job: _Waiting) -> None:
        with self._condition:
            if self._waiting.get(best) is job:
                del self._waiting[best]
            self._failures = 0
            recovered = self._problem is not None and not self._waiting
            if recovered:
                self._problem = self._since = None
        if recovered:
            log.info("Checkpoints are in the store again, up to epoch %d.", job.stored.epoch)
            with contextlib.suppress(Fault, _Abandoned):
                # Only what this thread left: other files of the attempt may be going up now.
                self._asked().discard_unfinished(f"{self.prefix}/checkpoint")

    def _upload(self, job: _Waiting) -> None:
        stored = job.stored
        if (there := self._of_content(stored.sha256)) is not None:
            stored = replace(stored, file=there.file or there.name)
        else:
            self._asked().put_file(job.file, f"{self.prefix}/{stored.file_name}")
        self._asked().put(f"{self.prefix}/{stored.name}.json", as_json(codec.to_plain(stored)))
        with self._condition:
            before = [*self.uploaded, *filter(None, [self._best])]
            if stored.name == BEST:
                self._best = stored
            else:
                self.uploaded = [*self.uploaded, stored][-self.keep :]
            kept = [*self.uploaded, *filter(None, [self._best])]
        self._remove([s for s in before if s not in kept], kept)

    def _asked(self) -> ObjectStore:
        """The store, for one more request."""
        if self._abandoned:
            raise _Abandoned
        return self.store

    def _remove(self, old: list[Stored], kept: list[Stored]) -> None:
        """Delete checkpoints; a description first, so that none is left that promises a file."""
        files = {s.file_name for s in kept}
        for stored in old:
            with contextlib.suppress(Fault):
                if stored.name != BEST:
                    self._asked().delete(f"{self.prefix}/{stored.name}.json")
                if stored.file_name not in files:
                    self._asked().delete(f"{self.prefix}/{stored.file_name}")
