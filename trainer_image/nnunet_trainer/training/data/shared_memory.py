"""Memory that processes share by a file descriptor.

It is a file without a name: it counts as the container's memory, does not lie in /dev/shm (whose size does not matter therefore),
and is gone with the last process that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np


class SharedMemory:
    """Zeros at first; a page is taken when it is first written. It can be sent to a child that inherits `fd` under the same number.

    Args:
        size: in bytes.
        fd: of memory that another process has made.
    """

    def __init__(self, size: int, fd: int | None = None) -> None:
        self.size = max(1, size)
        self.fd = unnamed_file() if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, self.size)
        self._map: mmap.mmap | None = mmap.mmap(self.fd, self.size)
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedMemory, (self.size, self.fd)

    def array(self, offset: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A part of it; keeps it mapped."""
        assert self._map is not None
        return np.ndarray(shape, dtype, buffer=self._map, offset=offset)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One thread of one process at a time. The lock of a process that is killed is free again."""
        with self._lock:
            fcntl.lockf(self.fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self.fd, fcntl.LOCK_UN)

    def clear(self) -> None:
        """Give all pages back; it holds zeros again."""
        os.ftruncate(self.fd, 0)
        os.ftruncate(self.fd, self.size)

    def close(self) -> None:
        """Give it back as soon as no array is left."""
        if self._map is not None:
            self._map = None
            os.close(self.fd)

    def __del__(self) -> None:
        if getattr(self, "_map", None) is not None:
            self.close()


def unnamed_file() -> int:
    """The descriptor of an empty file in memory, which is gone when all descriptors of it are closed."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("nnunet-trainer", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
