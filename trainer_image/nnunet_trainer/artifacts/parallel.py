"""Many transfers at once, on a bounded number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
THREADS = 8


def for_each(items: Iterable[T], work: Callable[[T], object], threads: int = THREADS) -> int:
    """Call `work` on every item; the first error ends it and is raised. Returns how many items there were.

    No more than twice as many items as threads are taken in advance, so `items` may be endless.
    """
    waiting, done = iter(items), 0
    with ThreadPoolExecutor(threads, thread_name_prefix="transfer") as pool:
        running: set[Future[object]] = set()
        try:
            while True:
                running |= {pool.submit(work, item) for item in islice(waiting, 2 * threads - len(running))}
                if not running:
                    return done
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    done += 1
        except BaseException:
            for future in running:
                future.cancel()
            raise
