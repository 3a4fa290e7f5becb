"""Checkpoints in the store, found again by whichever attempt comes next."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from ...artifacts import ObjectStore
from ...artifacts.artifact import bring_file
from ...artifacts.digests import FileEntry
from ...contract.faults import Fault
from ...contract.json_text import codec

BEST = "checkpoint_best"
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A checkpoint in the store, as `<name>.json` says, which is written after its file."""

    name: str
    epoch: int  # finished epochs
    size: int
    sha256: str
    file: str | None = None  # without `.pth`; None: `name`. The best one of an epoch is the latest one's file.

    @property
    def file_name(self) -> str:
        """Of the file beside the description."""
        return f"{self.file or self.name}.pth"


ATTEMPT = r"attempts/(\d+)(?:-[0-9A-Za-z-]+)?"
"""An attempt's folder, with its number as the group."""


def attempt_prefix(run: str, attempt: int, fold: str, job: str | None = None) -> str:
    """`…/attempts/N-<uid of the Job>/fold_K`: another cluster may have the same run in the same storage.

    Without a Job, as all attempts of version 0.1.0: `…/attempts/N/fold_K`.
    """
    return f"{run}/attempts/{attempt}{f'-{job}' if job else ''}/fold_{fold}"


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
        wanted = FileEntry(path=stored.file_name, size=stored.size, sha256=stored.sha256)
        prefix = candidate.key.rpartition("/")[0]
        try:
            bring_file(store, f"{prefix}/{stored.file_name}", wanted, target, store.uri(prefix), thorough=True)
        except Fault as fault:
            if not fault.exit_code.permanent:
                raise
            log.warning("A checkpoint is passed over: %s", fault.message)
            continue
        return target, stored
    return None
