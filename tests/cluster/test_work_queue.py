"""One at a time a key, nothing missed, nothing twice."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_operator.cluster import work_queue
from nnunet_operator.cluster.work_queue import WorkQueue


async def next_of(queue: WorkQueue[str], timeout: float = 60) -> str:
    async with asyncio.timeout(timeout):
        return await queue.get()


async def test_a_key_that_waits_is_handed_out_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a", "a"):
        queue.add(key)
    assert [await next_of(queue), await next_of(queue)] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_at_work_waits_for_its_worker() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await next_of(queue)
    queue.add("a")
    queue.add("b")
    assert await next_of(queue) == "b"
    with pytest.raises(TimeoutError):
        await next_of(queue, timeout=0.01)
    queue.done("a")
    assert await next_of(queue) == "a"


async def test_of_two_delays_the_shorter_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.01)
    queue.add_after("a", 100)
    assert await next_of(queue) == "a"
    queue.done("a")
    queue.add_after("a", 100)
    queue.add_after("a", 0.01)
    assert await next_of(queue) == "a"


async def test_work_ends_a_delay() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.05)
    queue.add("a")
    await next_of(queue)
    queue.done("a")
    with pytest.raises(TimeoutError):
        await next_of(queue, timeout=0.1)


async def test_back_off_grows_is_jittered_and_is_forgotten() -> None:
    random.seed(1)
    queue: WorkQueue[str] = WorkQueue()
    delays = [queue.retry("a") for _ in range(30)]
    queue.close()
    full = [min(work_queue.LONGEST_RETRY, work_queue.FIRST_RETRY * 2**i) for i in range(30)]
    assert all(wanted / 2 <= delay <= wanted for delay, wanted in zip(delays, full, strict=True))
    assert len(set(delays[-5:])) == 5
    queue.forget("a")
    assert queue.retry("a") <= work_queue.FIRST_RETRY
    queue.close()


@given(st.lists(st.sampled_from(["add a", "add b", "get", "done"]), max_size=60))
def test_whatever_happens_no_key_is_worked_on_twice_and_none_is_lost(steps: list[str]) -> None:
    async def play() -> None:
        queue: WorkQueue[str] = WorkQueue()
        working: list[str] = []
        owed: set[str] = set()
        for step in steps:
            if step.startswith("add"):
                queue.add(step[-1])
                owed.add(step[-1])
            elif step == "get" and owed - set(working):
                key = await next_of(queue)
                assert key not in working
                working.append(key)
                owed.discard(key)
            elif step == "done" and working:
                queue.done(working.pop(0))
        for key in working:
            queue.done(key)
        assert {await next_of(queue) for _ in range(len(owed))} == owed

    asyncio.run(play())


async def test_how_long_keys_wait_is_told() -> None:
    waited: list[float] = []
    queue: WorkQueue[str] = WorkQueue(waited.append)
    assert queue.oldest() == 0
    begun = asyncio.get_running_loop().time()
    queue.add("a")
    queue.add("b")
    queue.add("a")  # it waits already: its time goes on
    await asyncio.sleep(0)
    assert 0 <= queue.oldest() <= asyncio.get_running_loop().time() - begun
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert queue.oldest() == 0
    assert len(waited) == 2
    assert all(0 <= each <= asyncio.get_running_loop().time() - begun for each in waited)
    queue.add("a")  # a worker has it: it does not wait
    assert queue.oldest() == 0
    queue.done("a")
    assert queue.oldest() >= 0
    assert await queue.get() == "a"
    assert len(waited) == 3
