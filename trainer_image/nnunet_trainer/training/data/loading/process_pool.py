"""Worker processes that make batches in shared memory. One that dies is replaced, and what it had begun is made again."""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from nnunet_trainer.contract.control_groups import oom_kills
from nnunet_trainer.contract.faults import Temporary
from nnunet_trainer.extensions import loaded_places

from .batch_maker import BatchMaker, Place
from .slots import NO_SLOT, Slots
from .worker_process import WorkerProcess

log = logging.getLogger(__name__)

TRIES = 3
"""How often the same batch may end a worker."""

HANG_SECONDS = 1800.0
"""A worker that says nothing for so long, while its batch is waited for, hangs: the slowest storage takes less for a batch."""
LOOK_SECONDS = 5.0


@dataclass(slots=True)
class _Task:
    place: Place
    slot: int
    wanted: bool = True
    done: tuple[bool, bytes] | None = None


class ProcessPool:
    """Workers, and as many slots as batches may be in work, ready, and in use.

    Args:
        maker: makes batches; sent to each worker.
        workers: processes.
        slots: for batches.
        fds: what the workers inherit besides.
        fence: called when a batch is given back; None, or something whose `query()` says whether its memory is free again.
        on_death: hears the pid of a worker that has died.
        warn: hears why.
    """

    def __init__(
        self,
        maker: BatchMaker,
        workers: int,
        slots: Slots,
        *,
        fds: Sequence[int] = (),
        fence: Callable[[], Any] = lambda: None,
        on_death: Callable[[int, bool], None] = lambda pid, oom: None,
        warn: Callable[[str], None] = log.warning,
    ) -> None:
        self._slots, self._fds, self._fence, self._on_death, self.warn = slots, [*fds, slots.memory.fd], fence, on_death, warn
        self._content = pickle.dumps((loaded_places(), pickle.dumps((maker, slots))))
        self._free = deque(range(slots.count))
        self._tasks: dict[int, _Task] = {}
        self._order: deque[int] = deque()
        self._submitted, self._lent = 0, -1
        self._returned: deque[tuple[int, Any]] = deque()
        self._withheld: list[tuple[WorkerProcess, int]] = []
        """Slots of workers that were killed and do not end: the kernel may still write there for them."""
        self._deaths: Counter[Place] = Counter()
        self._oom_kills = oom_kills()
        self._workers = [self._start() for _ in range(workers)]

    @property
    def pids(self) -> list[int]:
        """Of the workers."""
        return [each.process.pid for each in self._workers]

    @property
    def room(self) -> bool:
        """Whether another batch may be submitted. The one that was taken last is given back by this."""
        if self._lent >= 0:
            self._returned.append((self._lent, self._fence()))
            self._lent = -1
        while self._returned and (self._returned[0][1] is None or self._returned[0][1].query()):
            self._free.append(self._returned.popleft()[0])
        if not self._free and not self._tasks and self._returned:
            slot, fence = self._returned.popleft()
            fence.synchronize()
            self._free.append(slot)
        self._free.extend(slot for each, slot in self._withheld if each.ended)
        self._withheld = [(each, slot) for each, slot in self._withheld if not each.ended]
        return bool(self._free) or (bool(self._withheld) and not self._tasks)

    def submit(self, place: Place) -> None:
        """Begin with a batch."""
        number, self._submitted = self._submitted, self._submitted + 1
        self._tasks[number] = _Task(place, self._free_slot())
        self._order.append(number)
        self._send(min(self._workers, key=lambda each: len(each.tasks)), number)

    def take(self) -> Any:
        """The first batch that was submitted and not taken, in its slot until `room` is asked for.

        Raises:
            Temporary: it has ended `TRIES` workers.
            Fault: what its making raised.
        """
        number = self._order.popleft()
        while self._tasks[number].done is None:
            self._listen()
        task = self._tasks.pop(number)
        self._lent = task.slot
        assert task.done is not None
        good, message = task.done
        if not good:
            raise pickle.loads(message)
        return self._slots.read(task.slot, message)

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait. Hears what workers have said meanwhile."""
        while self._order and self._tasks[self._order[0]].done is None:
            if not self._listen(0):
                return False
        return bool(self._order)

    def discard(self) -> None:
        """Forget what was submitted and not taken; a slot is free when its worker is done with it."""
        for number in list(self._order):
            self._tasks[number].wanted = False
            if self._tasks[number].done is not None:
                self._forget(number)
        self._order.clear()
        while not self.room:
            self._listen()

    def close(self) -> None:
        """End the workers: they hold nothing that could be lost."""
        for each in self._workers:
            each.kill()
        for each in self._workers:
            each.end()
        self._workers = []
        self._slots.memory.close()

    def _start(self) -> WorkerProcess:
        started = WorkerProcess.start(self._fds)
        started.write(self._content)
        return started

    def _send(self, to: WorkerProcess, number: int) -> None:
        if not to.tasks:
            to.since = time.monotonic()
        to.tasks.append(number)
        task = self._tasks[number]
        to.write(pickle.dumps((number, task.slot, task.place)))

    def _listen(self, seconds: float | None = None) -> bool:
        """Wait until a worker has something to say, is dead, or hangs, at most so long. Returns whether one did."""
        seconds = LOOK_SECONDS if seconds is None else seconds
        by_connection = {each.connection: each for each in self._workers}
        ready = wait(list(by_connection), seconds)
        if not ready and seconds:
            hung = [each for each in self._workers if each.tasks and time.monotonic() - each.since > HANG_SECONDS]
            for each in hung:
                self._replace(each, hangs=each.where())
        for connection in ready:
            assert isinstance(connection, Connection)
            spoken = by_connection[connection]
            try:
                number, good, message = pickle.loads(connection.recv_bytes())
            except (EOFError, ConnectionResetError):
                self._replace(spoken)
                continue
            spoken.tasks.remove(number)
            spoken.since = time.monotonic()
            task = self._tasks[number]
            task.done = good, message
            if not task.wanted:
                self._forget(number)
        return bool(ready)

    def _forget(self, number: int) -> None:
        if (slot := self._tasks.pop(number).slot) != NO_SLOT:
            self._free.append(slot)

    def _free_slot(self) -> int:
        """A slot that nobody writes to; `NO_SLOT` where all are withheld or in use."""
        return self._free.popleft() if self._free else NO_SLOT

    def _replace(self, dead: WorkerProcess, hangs: str | None = None) -> None:
        """Start another one in its place.

        Args:
            dead: it has ended, or hangs.
            hangs: where it stands.
        """
        dead.end()
        kills = oom_kills()
        out_of_memory, self._oom_kills = kills > self._oom_kills, kills
        cause = dead.ended_by(out_of_memory) if hangs is None else f"hung for {HANG_SECONDS / 60:g} minutes {hangs}"
        self._on_death(dead.process.pid, out_of_memory)
        said = f"The worker process {dead.process.pid}, which reads training data, {cause}"
        if dead.tasks:
            first = self._tasks[dead.tasks[0]].place
            self._deaths[first] += 1
            if self._deaths[first] >= TRIES:
                where = f"epoch {first.epoch}, {first.purpose} iteration {first.iteration}"
                message = f"{said}; it was the {TRIES}rd one that ended with the same batch ({where})."
                if hangs is not None:
                    hint = "Does the disk with the preprocessed data answer? The whole stack stands above, in the log."
                    raise Temporary("WorkerHung", message, hint=hint)
                raise Temporary(
                    "WorkerKilled",
                    message,
                    hint="Give the pod more memory (spec.template.resources), or use fewer workers (--workers)."
                    if out_of_memory
                    else "What it said itself stands above, in the log.",
                )
        self.warn(f"{said}. Another one takes its place and makes its batches again.")
        if dead.tasks and not dead.ended and (begun := self._tasks[dead.tasks[0]]).slot != NO_SLOT:
            self._withheld.append((dead, begun.slot))
            begun.slot = self._free_slot()
        self._workers[self._workers.index(dead)] = fresh = self._start()
        for number in dead.tasks:
            self._send(fresh, number)
