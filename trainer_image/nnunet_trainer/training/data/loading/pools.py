"""Who makes batches ahead: nobody, threads of this process, or worker processes (`process_pool`). Batches come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from .batch_maker import Place


class Pool(Protocol):
    """Makes batches in the order in which they are submitted."""

    @property
    def room(self) -> bool:
        """Whether another one may be submitted."""

    def submit(self, place: Place) -> None:
        """Begin with a batch."""

    def take(self) -> Any:
        """The first that was submitted and not taken; what lies in it is good until the next one is asked for."""

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait."""

    def discard(self) -> None:
        """Forget what was submitted and not taken."""

    def close(self) -> None:
        """End."""


class InThreads:
    """Threads of this process; without any, a batch is made when it is taken."""

    def __init__(self, make: Callable[[Place], Any], threads: int, ahead: int = 2) -> None:
        self._make, self._most = make, threads + ahead if threads else 1
        self._waiting: deque[Callable[[], Any]] = deque()
        self._futures: deque[Future[Any]] = deque()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="batches") if threads else None

    @property
    def room(self) -> bool:
        """Whether another one may be submitted."""
        return len(self._waiting) < self._most

    def submit(self, place: Place) -> None:
        """Begin with a batch."""
        if self._executor is None:
            self._waiting.append(lambda: self._make(place))
            return
        future = self._executor.submit(self._make, place)
        self._futures.append(future)
        self._waiting.append(future.result)

    def take(self) -> Any:
        """The first that was submitted and not taken."""
        if self._futures:
            self._futures.popleft()
        return self._waiting.popleft()()

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait; without threads it makes the batch."""
        return bool(self._futures) and self._futures[0].done()

    def discard(self) -> None:
        """Forget what was submitted and not taken."""
        for future in self._futures:
            future.cancel()
        self._waiting.clear()
        self._futures.clear()

    def close(self) -> None:
        """Wait for what was begun, and end."""
        self.discard()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
