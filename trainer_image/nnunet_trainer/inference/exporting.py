"""Predictions are written while the next image is predicted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from nnunet_trainer.contract.control_groups import cpu_limit, memory_limit

MOST = 16
"""Threads. Resampling uses several cores."""
SHARE = 4
"""All logits that wait take at most one part in so many of the memory. Their export takes about twice as much beside."""


class Exporter:
    """Threads that write; those who hand in more than fits in memory wait."""

    def __init__(self, pool: ThreadPoolExecutor, threads: int, room: int) -> None:
        self._pool, self._most, self._room = pool, threads + 1, room
        self._pending: deque[tuple[Future[None], int]] = deque()

    def submit(self, size: int, write: Callable[..., None], *arguments: Any) -> None:
        """Call `write(*arguments)` soon; one at a time where there is room for no more.

        Args:
            size: bytes that wait with it.
            write: in a thread.
            arguments: of it.

        Raises:
            Exception: what an earlier write has raised.
        """
        while self._pending and (len(self._pending) >= self._most or size + sum(n for _, n in self._pending) > self._room):
            self._pending.popleft()[0].result()
        self._pending.append((self._pool.submit(write, *arguments), size))

    def finish(self) -> None:
        """Wait for all that was handed in.

        Raises:
            Exception: what one of them has raised.
        """
        while self._pending:
            self._pending.popleft()[0].result()


@contextmanager
def exporting(threads: int | None = None) -> Iterator[Exporter]:
    """An exporter, which has written all when this is left without an error.

    Args:
        threads: at most so many; None: one for two cores, and 16 at most. Memory sets the other limit.
    """
    count = threads or max(1, min(MOST, cpu_limit() // 2))
    with ThreadPoolExecutor(count, thread_name_prefix="export") as pool:
        exporter = Exporter(pool, count, memory_limit() // SHARE)
        yield exporter
        exporter.finish()
