"""Decoded cases, kept for all processes that read patches: what fits stays, whichever process was the first to read it.

Cases are drawn with equal probability, so any that are kept serve as well as others: none is ever exchanged.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .shared_memory import SharedMemory

CACHE_BYTES = 256 * 2**20
_HEADER, _ROW = 4, 3
_USED, _ALLOWED, _GENERATION = range(3)
_STATE, _OFFSET, _OWNER = range(_ROW)
_ABSENT, _FILLING, _READY, _REFUSED = range(4)
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class DecodedCase:
    """Arrays of a case: data float32 (c, z, y, x), seg (s, z, y, x), previous (z, y, x) or None, in 8 or 16 bits."""

    data: np.ndarray
    seg: np.ndarray
    previous: np.ndarray | None


class CaseMemory:
    """Room for decoded cases.

    Args:
        cases: names of all that may come.
        size: the most that it may ever hold, in bytes.
        allowed: what it may hold for now.
        highest_label: labels up to 127 are kept in 8 bits.
    """

    def __init__(
        self, cases: Sequence[str], size: int = CACHE_BYTES, *, allowed: int | None = None, highest_label: int = 2**15
    ) -> None:
        self._places = {name: place for place, name in enumerate(dict.fromkeys(cases))}
        self._memory = SharedMemory(size)
        self._shared_table = SharedMemory(8 * (_HEADER + _ROW * len(self._places)))
        self._label_type = np.dtype(np.int8 if highest_label <= 127 else np.int16)
        self.allow(size if allowed is None else allowed)

    @property
    def fds(self) -> tuple[int, int]:
        """What a child process must inherit."""
        return self._memory.fd, self._shared_table.fd

    @property
    def used(self) -> int:
        """Bytes that are taken."""
        return int(self._header[_USED])

    @property
    def generation(self) -> int:
        """Another number says that what was kept before is gone."""
        return int(self._header[_GENERATION])

    def allow(self, size: int) -> None:
        """Let it hold so many bytes from now on; what it holds already stays."""
        self._header[_ALLOWED] = min(size, self._memory.size)

    def find(self, name: str, stored: Any) -> DecodedCase | None:
        """A case that is kept; None: it is not.

        Args:
            name: of the case.
            stored: the same, compressed.
        """
        with self._shared_table.locked():
            state, offset, _ = self._table[self._places[name]]
        return self._arrays(int(offset), stored) if state == _READY else None

    def has_room(self, stored: Any) -> bool:
        """Whether another case of this size may be kept, as it seems without waiting for other processes."""
        return self.used + self._size(stored) <= int(self._header[_ALLOWED])

    def keep(self, name: str, stored: Any) -> DecodedCase | None:
        """Decode and keep a case; None: there is no room, or another process is at it."""
        size = self._size(stored)
        row = self._table[self._places[name]]
        with self._shared_table.locked():
            offset = int(self._header[_USED])
            if row[_STATE] != _ABSENT or offset + size > self._header[_ALLOWED]:
                return None
            row[:] = _FILLING, offset, os.getpid()
            self._header[_USED] += size
        arrays, kept = self._arrays(offset, stored), False
        try:
            _decode(stored.data, arrays.data)
            kept = _decode(stored.seg, arrays.seg)
            if arrays.previous is not None:
                kept &= _decode(stored.previous, arrays.previous)
        finally:
            with self._shared_table.locked():
                if (row[_OFFSET], row[_OWNER]) == (offset, os.getpid()):
                    row[_STATE] = _READY if kept else _REFUSED
                else:
                    kept = False  # another process was told to decode it anew
        return arrays if kept else None

    def forget(self, pid: int) -> None:
        """A process has ended while it decoded: another one may do that.

        Its room stays taken: what one that was killed and does not end, as it waits for a disk, still writes falls on nothing else.
        """
        with self._shared_table.locked():
            self._table[(self._table[:, _STATE] == _FILLING) & (self._table[:, _OWNER] == pid)] = _ABSENT, 0, 0

    def clear(self) -> None:
        """Give all memory back; no other process may be reading."""
        self._memory.clear()
        self._table[:] = 0
        self._header[_USED] = 0
        self._header[_GENERATION] += 1

    def close(self) -> None:
        """It is not needed any more; what still refers to a case keeps its memory."""
        self._memory.close()
        self._shared_table.close()

    @property
    def _header(self) -> np.ndarray:
        return self._shared_table.array(0, (_HEADER,), np.int64)

    @property
    def _table(self) -> np.ndarray:
        return self._shared_table.array(8 * _HEADER, (len(self._places), _ROW), np.int64)

    def _layout(self, stored: Any) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
        previous = [] if stored.previous is None else [(tuple(stored.previous.shape), self._label_type)]
        return [(tuple(stored.data.shape), np.dtype(np.float32)), (tuple(stored.seg.shape), self._label_type), *previous]

    def _size(self, stored: Any) -> int:
        return sum(_aligned(shape, dtype) for shape, dtype in self._layout(stored))

    def _arrays(self, offset: int, stored: Any) -> DecodedCase:
        found: list[np.ndarray] = []
        for shape, dtype in self._layout(stored):
            found.append(self._memory.array(offset, shape, dtype))
            offset += _aligned(shape, dtype)
        return DecodedCase(found[0], found[1], found[2] if len(found) > 2 else None)


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    size = int(np.prod(shape)) * dtype.itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _decode(stored: Any, out: np.ndarray) -> bool:
    """Decode all of an array, a row of its chunks at a time; False: it holds labels that need more bits."""
    axis = out.ndim - 3
    step = int(getattr(stored, "chunks", stored.shape)[axis])
    limits = np.iinfo(out.dtype) if out.dtype.kind == "i" else None
    for start in range(0, out.shape[axis], step):
        place = (slice(None),) * axis + (slice(start, start + step),)
        part = np.asarray(stored[place])
        if limits is not None and part.size and (part.max() > limits.max or part.min() < limits.min):
            return False
        out[place] = part
    return True
