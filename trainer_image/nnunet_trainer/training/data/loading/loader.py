"""The batches of a training in order, made ahead of it: across epochs and validation iterations too."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from ..case_memory import CaseMemory
from .batch_maker import BatchMaker, Place, Schedule
from .budget import WORKER_BYTES, MemoryBudget
from .pools import InThreads, Pool
from .process_pool import ProcessPool
from .slots import Slots

log = logging.getLogger(__name__)

SPARE_SLOTS = 3
"""Beside one for each worker: of the batch in use, of the one that a GPU copies, and a ready one."""

SLOT_SHARE = 0.125
"""Of the memory limit that slots take at most."""

LOOK_EVERY = 8
"""Batches between two looks at how much memory decoded cases may take."""


@dataclass(kw_only=True)
class BatchLoader:
    """Begins to work with the first batch that is asked for. A context manager that ends its workers.

    Args:
        maker: makes batches.
        schedule: which follows which.
        memory: of decoded cases.
        budget: of that memory.
        workers: that make batches; 0: they are made when they are asked for.
        processes: whether these are processes, else threads of this one.
        slot_bytes: of a batch in shared memory.
        fence: called when a batch was used: see `ProcessPool`.
        pin: page-locks memory, and gives what undoes that.
        warn: hears of workers that have died.
    """

    maker: BatchMaker
    schedule: Schedule
    memory: CaseMemory
    budget: MemoryBudget
    workers: int = 0
    processes: bool = False
    slot_bytes: Callable[[], int] = lambda: 0
    fence: Callable[[], Any] = lambda: None
    pin: Callable[[Any], Callable[[], None]] | None = None
    warn: Callable[[str], None] = log.warning
    _pool: Pool | None = field(default=None, init=False)
    _expected: deque[Place] = field(default_factory=deque, init=False)
    _unpin: Callable[[], None] | None = field(default=None, init=False)
    _out_of_memory: bool = field(default=False, init=False)
    _said_fewer: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        for sampler in self.maker.samplers.values():
            sampler.close()
        self.memory.close()  # address space of all the memory that cases may take; what follows in this process may need it

    @property
    def pids(self) -> list[int]:
        """Of worker processes."""
        return self._pool.pids if isinstance(self._pool, ProcessPool) else []

    @property
    def ready(self) -> bool:
        """Whether the batch that follows can be had without waiting for it."""
        return self._pool is not None and self._pool.ready

    def batches(self, purpose: str, epoch: int, iterations: int, start: int = 0) -> Iterator[Any]:
        """What the maker makes for iterations `start` … `iterations` - 1, in order. Each is good until the next is asked for."""
        for iteration in range(start, iterations):
            yield self._take(Place(purpose, epoch, iteration))

    def close(self) -> None:
        """End the workers, and give back the memory; it begins anew when a batch is asked for."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if self._unpin is not None:
            self._unpin()
            self._unpin = None
        pool.close()
        self._expected.clear()
        self.memory.clear()
        self.budget.taken = 0

    def _take(self, place: Place) -> Any:
        pool = self._pool = self._pool or self._started()
        if self._expected and self._expected[0] != place:
            pool.discard()
            self._expected.clear()
        # First, so that the workers are busy while this one is waited for, and used.
        following: Place | None = self.schedule.after(self._expected[-1]) if self._expected else place
        while following is not None and pool.room:
            pool.submit(following)
            self._expected.append(following)
            following = self.schedule.after(following)
        if self.budget.taken % LOOK_EVERY == 0 or self.budget.taken < LOOK_EVERY:
            self.memory.allow(0 if self._out_of_memory else self.budget.allowed(self.memory.used))
        self.budget.taken += 1
        self._expected.popleft()
        return pool.take()

    def _started(self) -> Pool:
        if not self.processes or not self.workers:
            self.budget.counted = True
            return InThreads(self.maker, self.workers)
        size, room = self.slot_bytes(), int(SLOT_SHARE * self.budget.limit / self.budget.ranks)
        workers = max(1, min(self.workers, room // size - SPARE_SLOTS))
        slots = Slots(workers + SPARE_SLOTS, size)
        if workers < self.workers and not self._said_fewer:
            self._said_fewer = True  # it may begin anew after each epoch
            self.warn(
                f"{workers} worker processes read instead of {self.workers}: {slots.count} batches of up to {size / 2**20:.0f} MiB "
                f"are all that an eighth of the memory limit ({self.budget.limit / 2**30:.1f} GiB) holds."
            )
        self.budget.beside = slots.memory.size + workers * WORKER_BYTES
        if self.pin is not None:
            self._unpin = self.pin(slots.whole())
        return ProcessPool(
            self.maker,
            workers,
            slots,
            fds=self.memory.fds,
            fence=self.fence,
            on_death=self._worker_died,
            warn=lambda t: self.warn(t),
        )

    def _worker_died(self, pid: int, out_of_memory: bool) -> None:
        self.memory.forget(pid)
        self._out_of_memory |= out_of_memory
