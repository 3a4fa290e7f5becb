"""Delays between attempts that fail."""

from __future__ import annotations

import asyncio
import random

FIRST, LONGEST = 0.25, 8.0
"""Seconds. Not longer: a watch that comes back late is an operator that is behind."""


class Backoff:
    """Jittered delays that double with each attempt, until one succeeds."""

    def __init__(self, first: float = FIRST, longest: float = LONGEST) -> None:
        self._first, self._longest = first, longest
        self._attempts = 0

    @property
    def begun(self) -> bool:
        """Whether an attempt has failed since the last success."""
        return self._attempts > 0

    def reset(self) -> None:
        """An attempt has succeeded."""
        self._attempts = 0

    def next(self) -> float:
        """The next delay, in seconds."""
        delay = min(self._longest, self._first * 2.0 ** min(self._attempts, 20))
        self._attempts += 1
        return delay * random.uniform(0.5, 1.0)

    async def wait(self) -> None:
        """Let the next delay pass."""
        await asyncio.sleep(self.next())
