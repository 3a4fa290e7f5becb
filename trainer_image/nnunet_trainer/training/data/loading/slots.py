"""Places in shared memory for a batch each, and how a batch gets into one and out again without its arrays being copied twice."""

from __future__ import annotations

import io
import marshal
import math
import mmap
import pickle
from typing import Any

import numpy as np

from ..shared_memory import SharedMemory

ALIGNMENT = 64
NO_SLOT = -1
"""A batch without a slot is sent with its message."""
SMALL = 4096
"""Bytes of arrays that are sent with the message."""


class Slots:
    """`count` places of `size` bytes each."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = SharedMemory(self.count * self.size)

    def writer(self, number: int) -> SlotWriter:
        """For the process that makes the batch."""
        return SlotWriter(self.memory, 0, 0) if number == NO_SLOT else SlotWriter(self.memory, number * self.size, self.size)

    def read(self, number: int, message: bytes) -> Any:
        """A batch as it was written; its arrays and tensors lie in the slot."""
        return _Unpickler(io.BytesIO(message), self.memory, number * self.size).load()

    def whole(self) -> np.ndarray:
        """All bytes."""
        return self.memory.array(0, (self.memory.size,), np.uint8)


class SlotWriter:
    """Arrays of one slot, one after the other; once it is full, arrays of this process's own memory."""

    def __init__(self, memory: SharedMemory, start: int, size: int) -> None:
        self._memory, self._start, self._size, self._used = memory, start, size, 0
        self._offsets: dict[int, tuple[int, np.ndarray]] = {}

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array filled with anything."""
        dtype = np.dtype(dtype)
        needed = int(math.prod(shape)) * dtype.itemsize
        if self._used + needed > self._size:
            return np.empty(shape, dtype)
        array = self._memory.array(self._start + self._used, shape, dtype)
        self._offsets[array.__array_interface__["data"][0]] = self._used, array
        self._used += -(-needed // ALIGNMENT) * ALIGNMENT
        return array

    def message(self, item: Any) -> bytes:
        """What `Slots.read` makes the item of again."""
        buffer = io.BytesIO()
        _Pickler(buffer, self).dump(item)
        return buffer.getvalue()

    def place(self, array: np.ndarray) -> tuple[int, str] | None:
        """Offset and type of an array that lies in the slot, else None."""
        found = self._offsets.get(array.__array_interface__["data"][0])
        return (found[0], array.dtype.str) if found and found[1].nbytes == array.nbytes and array.flags.c_contiguous else None


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, writer: SlotWriter) -> None:
        super().__init__(file, protocol=5)
        self._writer = writer

    def persistent_id(self, item: Any) -> Any:
        if isinstance(item, np.ndarray) and item.dtype != object:
            return self._array(item, None)
        # By name: where patches are only read there is no torch.
        if type(item).__module__ == "torch" and type(item).__name__ == "Tensor":
            import torch

            extent = 1 + sum((n - 1) * step for n, step in zip(item.shape, item.stride(), strict=True)) if item.numel() else 0
            flat = item.as_strided((extent,), (1,)).numpy()
            if self._writer.place(flat) is None:
                flat = self._writer.allocate((extent,), flat.dtype)
                torch.from_numpy(flat).as_strided(item.shape, item.stride()).copy_(item)
            return self._array(flat, (tuple(item.shape), item.stride()))
        return None

    def _array(self, array: np.ndarray, strided: Any) -> Any:
        place = self._writer.place(array)
        if place is None and strided is None and array.nbytes > SMALL:
            own = self._writer.allocate(array.shape, array.dtype)
            own[...] = array
            array, place = own, self._writer.place(own)
        if place is None:
            if strided is None:
                return None
            return marshal.dumps(("sent", array.tobytes(), array.dtype.str, array.shape, strided))
        # As one thing: pickle asks for an identity of each number of a tuple.
        return marshal.dumps(("slot", *place, array.shape, strided))


class _Unpickler(pickle.Unpickler):
    """Of what our own worker has sent."""

    def __init__(self, file: io.BytesIO, memory: SharedMemory, start: int) -> None:
        super().__init__(file)
        self._memory, self._start = memory, start

    def persistent_load(self, pid: Any) -> Any:
        kind, where, dtype, shape, strided = marshal.loads(pid)
        if kind == "slot":
            array = self._memory.array(self._start + where, shape, np.dtype(dtype))
        else:
            array = np.frombuffer(bytearray(where), np.dtype(dtype)).reshape(shape)
        if strided is None:
            return array
        import torch

        return torch.from_numpy(array).as_strided(*strided)
