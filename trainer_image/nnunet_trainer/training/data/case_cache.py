"""What is kept of preprocessed cases between two patches: the whole of small ones, of others where their classes lie."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import numpy as np

from nnunet_trainer.contract.faults import BadData

from .patch_location import Locations

CACHE_BYTES = 256 * 2**20
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
    lock: Any


class CaseCache:
    """Cases that are in use.

    Args:
        store: the preprocessed folder.
        limit: bytes of what is kept: the whole of small cases (up to a quarter of it), of others where their classes lie.
    """

    def __init__(self, store: CaseStore, limit: int = CACHE_BYTES) -> None:
        self._store = store
        self._cases: OrderedDict[str, OpenedCase] = OrderedDict()
        self._limit, self._lock = limit, Lock()
        self.bytes = 0
        """What is kept."""

    def __len__(self) -> int:
        return len(self._cases)

    def open(self, name: str) -> OpenedCase:
        """A case, opened now or before. Thread-safe.

        Raises:
            BadData: its properties do not say where its classes lie.
        """
        with self._lock:
            if name in self._cases:
                self._cases.move_to_end(name)
                return self._cases[name]
        stored = self._store.open(name)
        if "class_locations" not in stored.properties:
            message = f"{name}.pkl has no class_locations: it is not of a case that was preprocessed for training."
            raise BadData(
                "InvalidPreprocessedData", message, hint=f"Remove {name}.pkl and preprocess again: only that case is made anew."
            )
        locations = {key: _compact(voxels) for key, voxels in stored.properties["class_locations"].items()}
        size = sum(voxels.nbytes for voxels in locations.values())
        previous = stored.previous
        labels = [stored.seg] if previous is None else [stored.seg, previous]
        decoded = 4 * int(np.prod(stored.data.shape)) + sum(2 * int(np.prod(each.shape)) for each in labels)
        if size + decoded <= self._limit // 4:
            with self.reading(name):
                data, seg = np.asarray(stored.data[:], np.float32), np.asarray(stored.seg[:], np.int16)
                previous = None if previous is None else np.asarray(previous[:], np.int16)
            opened = OpenedCase(data, seg, previous, locations, size + decoded, nullcontext())
        else:
            opened = OpenedCase(stored.data, stored.seg, previous, locations, size, Lock())
        with self._lock:
            if name not in self._cases:
                self._cases[name] = opened
                self.bytes += opened.bytes
            while self.bytes > self._limit:
                self._drop(next(iter(self._cases)))
            compressed = [case for case, kept in self._cases.items() if not isinstance(kept.data, np.ndarray)]
            for case in compressed[: max(0, len(compressed) - OPEN_CASES)]:
                self._drop(case)
        return opened

    def reading(self, name: str) -> AbstractContextManager[None]:
        """Around what unpacks a case's voxels."""
        return self._store.reading(name)

    def _drop(self, case: str) -> None:
        self.bytes -= self._cases.pop(case).bytes


def _compact(voxels: Any) -> np.ndarray:
    """Class locations in the smallest type that holds them: they are most of a case's properties."""
    array = np.asarray(voxels)
    return array.astype(np.int16 if array.size and array.max() < 2**15 else np.int32) if array.size else array.reshape(0, 4)
