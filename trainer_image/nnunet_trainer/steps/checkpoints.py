"""Checkpoints in the store: uploaded in the background while training goes on, found again by whichever attempt comes next."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from ..artifacts import ObjectStore
from ..artifacts.artifact import as_json, bring_file
from ..artifacts.digests import FileEntry
from ..contract import codec
from ..contract.faults import Fault
from ..contract.progress import Progress, ProgressHook

BEST = "checkpoint_best"
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A checkpoint in the store, as `<name>.json` beside `<name>.pth` says; written after it."""

    name: str
    epoch: int  # finished epochs
    size: int
    sha256: str


ATTEMPT = r"attempts/(\d+)(?:-[0-9A-Za-z-]+)?"
"""An attempt's folder, with its number as the group."""


def attempt_prefix(run: str, attempt: int, fold: str, job: str | None = None) -> str:
    """`…/attempts/N-<uid of the Job>/fold_K`: another cluster may have the same run in the same storage.

    Without a Job, as all attempts of version 0.1.0: `…/attempts/N/fold_K`.
    """
    return f"{run}/attempts/{attempt}{f'-{job}' if job else ''}/fold_{fold}"


class Uploads:
    """Uploads checkpoints from a thread of its own. A store that is away does not stop the training: it is said, and tried again
    with the next checkpoint.

    Args:
        store: where to.
        prefix: this attempt's.
        keep: how many checkpoints of this attempt stay; the best one is kept besides.
        listener: hears of everything that the training says, with what is in the store added.
        work: a folder of scratch on the checkpoints' own file system.
    """

    def __init__(self, store: ObjectStore, prefix: str, keep: int, listener: ProgressHook, work: Path) -> None:
        self.store, self.prefix, self.keep, self.listener, self.work = store, prefix, max(1, keep), listener, work
        self.uploaded: list[Stored] = []
        self._problems: dict[bool, str] = {}
        self._since: dict[bool, int] = {}
        self._waiting: dict[bool, tuple[Path, Stored]] = {}  # newest by whether it is the best
        self._busy = False
        self._count = 0
        self._progress: Progress | None = None
        self._condition = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)
        self._thread.start()

    def written(self, path: Path, epoch: int, sha256: str) -> None:
        """A checkpoint is on disk. It may be replaced there at any time: a link keeps this one until it is uploaded."""
        best = path.stem == BEST
        self._count += 1
        name = BEST if best else f"checkpoint_{epoch:05d}_{self._count:05d}"
        kept = self.work / f"{name}-{self._count}.pth"
        kept.unlink(missing_ok=True)
        try:
            os.link(path, kept)
        except OSError:
            shutil.copyfile(path, kept)
        stored = Stored(name=name, epoch=epoch, size=kept.stat().st_size, sha256=sha256)
        with self._condition:
            if best in self._waiting:
                self._waiting.pop(best)[0].unlink(missing_ok=True)
            self._waiting[best] = (kept, stored)
            self._condition.notify_all()

    @property
    def problem(self) -> str | None:
        """Why the newest checkpoint is not in the store, or the best one."""
        return self._problems.get(False) or self._problems.get(True)

    def hear(self, progress: Progress) -> None:
        """Pass a progress on, with the newest checkpoint that is in the store, and what went wrong with it."""
        with self._condition:
            self._progress = progress
            last = next((s for s in reversed(self.uploaded) if s.name != BEST), None)
            if last is not None:
                uri = self.store.uri(f"{self.prefix}/{last.name}.pth")
                progress = replace(progress, checkpoint_epoch=last.epoch, checkpoint_uri=uri, checkpoint_sha256=last.sha256)
            if self.problem:
                progress = replace(progress, warnings=[*(progress.warnings or []), self.problem])
        self.listener(progress)

    def close(self) -> str | None:
        """Upload what waits, and end. Returns what went wrong with the last of it, None when all is in the store."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join()
        return self.problem

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                self._busy = True
                best = min(self._waiting)  # the one to go on from first
                path, stored = self._waiting.pop(best)
            try:
                self._upload(path, stored)
            except Exception as error:
                text = error.message if isinstance(error, Fault) else f"{type(error).__name__}: {error}"
                # The same words as long as it lasts: it is one warning, not one an epoch.
                since = self._since.setdefault(best, stored.epoch)
                self._problems[best] = f"Checkpoints from epoch {since} on are not in the store: {text}"
                log.warning("%s", self._problems[best])
            else:
                self._problems.pop(best, None)
                self._since.pop(best, None)
            path.unlink(missing_ok=True)
            if self._progress is not None and not self._closed:
                self.hear(self._progress)

    def _upload(self, path: Path, stored: Stored) -> None:
        key = f"{self.prefix}/{stored.name}"
        self.store.put_file(path, f"{key}.pth")
        self.store.put(f"{key}.json", as_json(codec.to_plain(stored)))
        with self._condition:
            self.uploaded.append(stored)
            named = [s for s in self.uploaded if s.name != BEST]
            old = named[: -self.keep]
            self.uploaded = [s for s in self.uploaded if s not in old]
        for each in old:
            remove(self.store, f"{self.prefix}/{each.name}")


def remove(store: ObjectStore, key: str) -> None:
    """Delete a checkpoint; its description first, so that none is left that promises a file."""
    with contextlib.suppress(Fault):
        store.delete(f"{key}.json")
        store.delete(f"{key}.pth")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint of some attempt; the greatest `order` is the most advanced."""

    order: tuple[int, int, str]
    key: str
    stored: Stored


def candidates(store: ObjectStore, run: str, fold: str) -> tuple[list[Candidate], list[Candidate]]:
    """The checkpoints of all attempts, the most advanced first; and the best ones of each attempt, the latest first."""
    pattern = re.compile(rf"{re.escape(run)}/{ATTEMPT}/fold_{re.escape(fold)}/([^/]+)\.json")
    going_on: list[Candidate] = []
    best: list[Candidate] = []
    for info in store.list(f"{run}/attempts/"):
        match = pattern.fullmatch(info.key)
        if not match:
            continue
        try:
            stored = codec.loads(Stored, store.get(info.key))
        except (codec.CodecError, Fault) as error:
            log.warning("%s is passed over: %s", store.uri(info.key), error)
            continue
        # At the same epoch the later attempt went on from the earlier one, and the later upload is further into the epoch.
        found = Candidate((stored.epoch, int(match[1]), stored.name), info.key.removesuffix(".json"), stored)
        (best if stored.name == BEST else going_on).append(found)
    return sorted(going_on, key=lambda c: c.order, reverse=True), sorted(best, key=lambda c: c.order, reverse=True)


def fetch_newest(store: ObjectStore, found: list[Candidate], folder: Path) -> tuple[Path, Stored] | None:
    """The first of these that is whole, as a file in `folder`; None when none is."""
    for candidate in found:
        stored = candidate.stored
        target = folder / f"{stored.name}.pth"
        wanted = FileEntry(path=f"{stored.name}.pth", size=stored.size, sha256=stored.sha256)
        try:
            bring_file(store, f"{candidate.key}.pth", wanted, target, store.uri(candidate.key.rpartition("/")[0]), thorough=True)
        except Fault as fault:
            if not fault.exit_code.permanent:
                raise
            log.warning("A checkpoint is passed over: %s", fault.message)
            continue
        return target, stored
    return None
