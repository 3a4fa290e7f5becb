"""A queue of keys: one at a time a key, coalescing, delays, back-off."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_RETRY = 0.5
LONGEST_RETRY = 300.0


class WorkQueue(Generic[K]):
    """Keys that wait for a worker.

    A key that is added while it waits is handed out once; one that is added while a worker has it is handed out again
    after `done`. So no two workers ever have the same key, and no change is missed.

    Args:
        waited: called with the seconds that a key has waited, when it is handed out.
    """

    def __init__(self, waited: Callable[[float], None] = lambda _: None) -> None:
        self._waited = waited
        self._waiting: deque[K] = deque()
        self._queued: dict[K, float] = {}  # since when, on the loop's clock
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    def oldest(self) -> float:
        """The seconds that the key at the head has been waiting; 0 when none waits."""
        return asyncio.get_running_loop().time() - self._queued[self._waiting[0]] if self._waiting else 0.0

    def add(self, key: K) -> None:
        """Hand out the key as soon as a worker is free."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._queued:
            self._queued[key] = asyncio.get_running_loop().time()
            self._waiting.append(key)
            self._arrived.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Hand out the key after a delay; of several delays the one that ends first counts."""
        loop = asyncio.get_running_loop()
        if (timer := self._timers.get(key)) is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(max(0.0, seconds), self._due, key)

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def retry(self, key: K, longest: float = LONGEST_RETRY) -> float:
        """Hand out the key again after a jittered delay that doubles with each failure; the delay, in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(longest, FIRST_RETRY * 2 ** min(failures - 1, 20)) * random.uniform(0.5, 1.0)
        self.add_after(key, delay)
        return delay

    def failures(self, key: K) -> int:
        """How often in a row the key was tried again."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key went well: the next failure begins at the shortest delay."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key. Its delays are void: the worker looks at the newest state, and says when to look again."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        key = self._waiting.popleft()
        self._waited(asyncio.get_running_loop().time() - self._queued.pop(key))
        self._working.add(key)
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        return key

    def done(self, key: K) -> None:
        """The worker has finished with the key."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Drop all delays."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
