"""How soon a pass that went wrong is made again, by what went wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from nnunet_operator.cluster import work_queue, workers
from nnunet_operator.cluster.api.errors import ApiError, NotLeading
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.work_queue import WorkQueue
from nnunet_operator.cluster.workers import Workers
from nnunet_operator.controller.object_client import Rejected
from nnunet_operator.reconcile.view import Key

KEY = Key("Dataset", "default", "brain")
OUTAGES = [OSError("no route"), TimeoutError(), ApiError(500, "", ""), ApiError(503, "", ""), ApiError(429, "", "")]
OWN_FAULTS = [Rejected("Forbidden", "quota"), ApiError(403, "Forbidden", ""), ValueError("a bug")]


class Impatient(WorkQueue[Key]):
    """Keeps delays, and does not wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []

    def add_after(self, key: Key, seconds: float) -> None:
        self.delays.append(seconds)
        self.add(key)


class Failing:
    """Passes that fail so many times."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.left, self.done = error, times, asyncio.Event()

    async def pass_over(self, *_: object) -> object:
        if self.left:
            self.left -= 1
            raise self.error
        self.done.set()
        await asyncio.Event().wait()
        return None


async def seen_as_newest(key: Key) -> None:
    """Reading an object again brings what is known."""


async def delays(error: Exception, times: int = 14) -> list[float]:
    queue, failing = Impatient(), Failing(error, times)
    working = asyncio.create_task(
        Workers(ObjectCache(), queue, failing, {}, lambda: datetime.now(UTC), read_again=seen_as_newest).work()  # type: ignore[arg-type]
    )
    queue.add(KEY)
    try:
        await asyncio.wait_for(failing.done.wait(), 60)
    finally:
        working.cancel()
    assert len(queue.delays) == times
    return queue.delays


@pytest.mark.parametrize("error", OUTAGES, ids=repr)
async def test_after_an_outage_nobody_waits_for_minutes(error: Exception) -> None:
    assert workers.OUTAGE_RETRY / 2 <= (await delays(error))[-1] <= workers.OUTAGE_RETRY


@pytest.mark.parametrize("error", OWN_FAULTS, ids=repr)
async def test_what_is_the_objects_own_fault_is_tried_less_and_less_often(error: Exception) -> None:
    assert work_queue.LONGEST_RETRY / 2 <= (await delays(error))[-1] <= work_queue.LONGEST_RETRY


async def test_what_was_not_to_be_written_is_looked_at_again_soon() -> None:
    assert await delays(NotLeading(), 3) == [workers.LEASE_DELAY] * 3
