"""Items that threads make ready before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetched(make: Callable[[int], T], items: Sequence[int], *, workers: int = 1, ahead: int = 2) -> Iterator[T]:
    """`make(item)` for each item, in order, at most `workers + ahead` of them before they are asked for.

    An error in a thread is raised where its item is asked for. Leaving the iterator early drops what was not begun.
    """
    if workers <= 0:
        yield from map(make, items)
        return
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    try:
        rest = iter(items)
        for item in rest:
            waiting.append(pool.submit(make, item))
            if len(waiting) >= workers + ahead:
                break
        while waiting:
            done = waiting.popleft().result()
            item = next(rest, None)
            if item is not None:
                waiting.append(pool.submit(make, item))
            yield done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
