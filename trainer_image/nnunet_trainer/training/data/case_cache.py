"""Cases in use in one process: where their classes lie, and their voxels, decoded (`case_memory`) or read where they are sliced."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import numpy as np

from nnunet_trainer.contract.faults import BadData

from .case_memory import CaseMemory, DecodedCase
from .patch_location import Locations

LOCATION_BYTES = 64 * 2**20
"""Of where classes lie, in each process."""

OPEN_CASES = 100
"""Cases that stay open, two or three files each: a process may have 1,024."""


class SampledCase(Protocol):
    """A preprocessed case whose arrays (c, z, y, x) are read only where they are sliced."""

    data: Any
    seg: Any
    properties: Mapping[str, Any]
    previous: Any
    """The previous stage's segmentation (z, y, x) in a cascade, else None."""


class CaseStore(Protocol):
    """Where preprocessed cases lie (`preprocessing.storage.PreprocessedFolder`)."""

    def open(self, case: str) -> SampledCase:
        """One case by name."""

    def reading(self, case: str) -> AbstractContextManager[None]:
        """Around what unpacks its voxels: says what is wrong with those that cannot be."""


@dataclass(frozen=True, slots=True)
class OpenedCase:
    """A case in use. `lock` guards arrays that are still compressed: their handles are not made for two threads."""

    data: Any
    seg: Any
    previous: Any
    locations: Locations
    bytes: int
    """Of the locations."""
    lock: Any

    @property
    def decoded(self) -> bool:
        """Whether its voxels lie in memory."""
        return isinstance(self.data, np.ndarray)


class CaseCache:
    """Cases that are in use.

    Args:
        store: the preprocessed folder.
        memory: for decoded voxels, of all processes.
        limit: bytes of where classes lie that are kept in this one.
    """

    def __init__(self, store: CaseStore, memory: CaseMemory, limit: int = LOCATION_BYTES) -> None:
        self._store, self._memory = store, memory
        self._cases: OrderedDict[str, OpenedCase] = OrderedDict()
        self._limit, self._lock, self._generation = limit, Lock(), memory.generation
        self.bytes = 0
        """Of locations that are kept."""

    def __reduce__(self) -> tuple[Any, ...]:
        return CaseCache, (self._store, self._memory, self._limit)

    def __len__(self) -> int:
        return len(self._cases)

    def open(self, name: str) -> OpenedCase:
        """A case, opened now or before. Thread-safe.

        Raises:
            BadData: its properties do not say where its classes lie.
        """
        with self._lock:
            if self._generation != self._memory.generation:
                self._cases.clear()
                self.bytes, self._generation = 0, self._memory.generation
            known = self._cases.get(name)
            if known is not None:
                self._cases.move_to_end(name)
        if known is None:
            known = self._opened(name)
        elif not known.decoded and (kept := self._kept(name, known, known.lock)):
            known = OpenedCase(kept.data, kept.seg, kept.previous, known.locations, known.bytes, nullcontext())
        else:
            return known
        with self._lock:
            if name in self._cases:
                self.bytes -= self._cases.pop(name).bytes
            self._cases[name] = known
            self.bytes += known.bytes
            while self.bytes > self._limit and len(self._cases) > 1:
                self._drop(next(iter(self._cases)))
            compressed = [case for case, kept in self._cases.items() if not kept.decoded]
            for case in compressed[: max(0, len(compressed) - OPEN_CASES)]:
                self._drop(case)
        return known

    def close(self) -> None:
        """Forget all cases, which keep memory and files."""
        with self._lock:
            self._cases.clear()
            self.bytes = 0

    def _opened(self, name: str) -> OpenedCase:
        stored = self._store.open(name)
        if "class_locations" not in stored.properties:
            message = f"{name}.pkl has no class_locations: it is not of a case that was preprocessed for training."
            raise BadData(
                "InvalidPreprocessedData", message, hint=f"Remove {name}.pkl and preprocess again: only that case is made anew."
            )
        locations = {key: _compact(voxels) for key, voxels in stored.properties["class_locations"].items()}
        size = sum(voxels.nbytes for voxels in locations.values())
        kept = self._kept(name, stored, nullcontext())
        if kept is None:
            return OpenedCase(stored.data, stored.seg, stored.previous, locations, size, Lock())
        return OpenedCase(kept.data, kept.seg, kept.previous, locations, size, nullcontext())

    def _kept(self, name: str, stored: Any, lock: AbstractContextManager[Any]) -> DecodedCase | None:
        """A case that is kept, or is from now on: there may be room that was not allowed yet when it was opened."""
        if kept := self._memory.find(name, stored):
            return kept
        if not self._memory.has_room(stored):
            return None
        with lock, self.reading(name):
            return self._memory.keep(name, stored)

    def reading(self, name: str) -> AbstractContextManager[None]:
        """Around what unpacks a case's voxels."""
        return self._store.reading(name)

    def _drop(self, case: str) -> None:
        self.bytes -= self._cases.pop(case).bytes


def _compact(voxels: Any) -> np.ndarray:
    """Class locations in the smallest type that holds them: they are most of a case's properties."""
    array = np.asarray(voxels)
    return array.astype(np.int16 if array.size and array.max() < 2**15 else np.int32) if array.size else array.reshape(0, 4)
