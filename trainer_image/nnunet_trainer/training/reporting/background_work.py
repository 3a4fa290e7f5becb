"""What a training writes for people, done by a thread: neither the GPU nor the next step waits for a plot or a slow disk."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

MOST_WAITING = 4
"""Pieces of work that may wait; whoever has one more waits for a place."""

log = logging.getLogger(__name__)


class BackgroundWork:
    """Does what it is given, one after the other, in that order. Its thread begins with the first."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Callable[[], object] | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._failed: BaseException | None = None

    @property
    def idle(self) -> bool:
        """Whether all that was given is done."""
        return self._waiting.unfinished_tasks == 0

    def submit(self, work: Callable[[], object]) -> None:
        """Have it done soon.

        Raises:
            Exception: what an earlier one failed with.
        """
        self._check()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="background-work", daemon=True)
            self._thread.start()
        self._waiting.put(work)

    def close(self, seconds: float) -> bool:
        """Have all of it done, and end. Returns whether it was done within so many seconds; a disk that hangs is left.

        Raises:
            Exception: what one of them failed with.
        """
        until = time.monotonic() + seconds
        if self._thread is not None:
            try:
                self._waiting.put(None, timeout=seconds)
            except queue.Full:
                return False
            self._thread.join(max(0.0, until - time.monotonic()))
            if self._thread.is_alive():
                return False
            self._thread = None
        self._check()
        return True

    def _check(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            try:
                work()
            except BaseException as error:
                if self._failed is not None:
                    log.warning("%s: %s", type(error).__name__, error)  # the first one is raised
                self._failed = self._failed or error
            finally:
                self._waiting.task_done()
        self._waiting.task_done()
