"""What a training writes for people, done by a thread: neither the GPU nor the next step waits for a plot or a slow disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class BackgroundWork:
    """Does one piece of work at a time. Of those that come meanwhile the newest is next, and must do what the others would have.

    However slow a disk is, at most two pieces are held, and the last one is done. The thread begins with the first.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next: Callable[[], object] | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._failed: BaseException | None = None

    def submit(self, work: Callable[[], object]) -> None:
        """Have it done soon, in place of one that has not begun.

        Raises:
            Exception: what an earlier one failed with.
        """
        self._check()
        with self._condition:
            self._next, self._closed = work, False
            self._condition.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="background-work", daemon=True)
            self._thread.start()

    def close(self, seconds: float) -> bool:
        """Have the last one done, and end. Returns whether it was done within so many seconds; a disk that hangs is left.

        Raises:
            Exception: what one of them failed with.
        """
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)
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
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._next is not None or self._closed)
                work, self._next = self._next, None
            if work is None:
                return
            try:
                work()
            except BaseException as error:
                if self._failed is not None:
                    log.warning("%s: %s", type(error).__name__, error)  # the first one is raised
                self._failed = self._failed or error
