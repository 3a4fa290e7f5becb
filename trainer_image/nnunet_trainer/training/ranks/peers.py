"""Whether the other ranks go on: one that fails, is killed or hangs is named by all, and none waits for it without end."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import Fault, Stopped, Temporary, of_exit_code
from nnunet_trainer.process_exit.abort import abort
from nnunet_trainer.process_exit.failures import as_fault

from . import places
from .peer_links import Links, Message
from .places import Place, Places

TICK_SECONDS = 0.5
TELL_SECONDS = 2.0
"""Between two messages about where a rank stands."""
OUT_SECONDS = 10.0
"""Within which the main thread must have noticed that another rank failed; else it is in a collective that does not end."""
CAUSE_SECONDS = 3.0
"""How long a broken collective waits to hear why it broke."""
CONNECT_SECONDS = 30.0
"""Within which a rank that has arrived must be connected."""
LEAVE_SECONDS = 10.0
"""Within which the others must have been told why this rank ends."""
STOP_SHARE = 0.7
"""Of the pod's grace period, in which the ranks must have come together after SIGTERM."""
LOOK = "See that pod's log, and its node."
log = logging.getLogger(__name__)


class Peers:
    """This rank among the others. Its main thread says where it stands, and asks; a thread hears and watches.

    Args:
        rank: of this process.
        world_size: processes.
        links: to the others; None: there are none.
        end: ends this process although its main thread is stuck.
    """

    def __init__(
        self, rank: int = 0, world_size: int = 1, links: Links | None = None, end: Callable[[Fault], None] = abort
    ) -> None:
        self.rank, self.world_size = rank, world_size
        self.on_stall: Callable[[str | None], None] = lambda text: None
        """Told when the training stands still, and with None when it goes on again; the first rank's names the slowest."""
        self._links, self._end = links, end
        self.places = Places(rank, world_size)
        self._left: set[int] = set()
        self._failure: tuple[Fault, float] | None = None
        self._heard = threading.Event()
        self._checkpoint: tuple[int, int] | None = None
        self._began = self._told = 0.0
        self._all_connected = False
        self._stop_since: float | None = None
        self._stop_noticed = self._stalled = False
        self._leaving = threading.Event()
        self._last_words: list[Message] = []
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs, and tell the others how it ended.

        Raises:
            Fault: of the rank that failed first, in place of the broken collective that was this rank's end.
        """
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)
        self._thread.start()
        try:
            with self._woken_by_signals():
                yield
        except BaseException as error:
            fault = self._cause(error)
            self._leave(fault)
            if fault is error:
                raise
            raise fault from error
        self._leave(None)

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        # Python's handlers wait for the main thread, which may be in a collective; this descriptor is written to at once.
        if self._links is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.set_wakeup_fd(self._links.wake_descriptor, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    # --- What the main thread says and asks

    def at(self, epoch: int, iteration: int, phase: str, order: int = -1) -> None:
        """This rank has come to here."""
        self.places.come(Place(epoch, iteration, order, phase))

    def saved(self, epoch: int, iteration: int) -> None:
        """A checkpoint is on disk."""
        self._checkpoint = epoch, iteration

    def stopping(self) -> None:
        """All ranks have agreed to stop: from here on none needs another."""
        self._stop_noticed = True

    def check(self) -> None:
        """Raise what another rank failed with."""
        if self._failure is not None and not self._stop_noticed:
            raise self._failure[0]

    # --- What the thread does

    def _watch(self) -> None:
        rearmed, self._began = 0.0, time.monotonic()
        while not self._leaving.is_set():
            now = time.monotonic()
            if now - rearmed > TICK_SECONDS * 60:
                # A thread that holds the interpreter's lock for ever stops this one too; this timer needs no lock.
                faulthandler.dump_traceback_later(places.FIRST_STEP_SECONDS + places.STALL_SECONDS, file=2)
                rearmed = now
            self._watch_connecting(now)
            self._tell_place(now)
            self._watch_stop(now)
            self._watch_failure(now)
            self._watch_steps(now)
            if self._leaving.is_set():
                break
            if self._links is None:
                self._leaving.wait(TICK_SECONDS)
                continue
            for rank, message in self._links.wait(TICK_SECONDS):
                if isinstance(message, bytes):
                    self._signalled(message)
                elif rank is not None:
                    self._hear(rank, message)
        faulthandler.cancel_dump_traceback_later()
        if self._links is not None:
            for message in self._last_words:
                self._links.send(message)
            self._links.close()

    def _watch_connecting(self, now: float) -> None:
        if self._links is None or self._all_connected:
            return
        missing = [rank for rank in self._links.missing(self.world_size) if rank not in self._left]
        self._all_connected = not missing
        if missing and now - self._began > CONNECT_SECONDS:
            self._all_connected = True  # said once
            who = ", ".join(f"rank {rank}" for rank in missing)
            self._fail(Stopped("RankLost", f"{who} had arrived, and went away before the training began.", hint=LOOK))

    def _hear(self, rank: int, message: Message | None) -> None:
        first = self.rank == 0
        if message is None:
            if rank not in self._left:
                self._lost(rank)
        elif "node" in message:
            self.places.nodes[rank] = str(message["node"])
            if first and self._links is not None:
                self._links.send({"node": self.places.nodes[self.rank]}, rank)
        elif "at" in message:
            self.places.hear(rank, Place(*message["at"]))
        elif "stop" in message:
            self._stop_since = self._stop_since or time.monotonic()
        elif "left" in message:
            self._left.add(rank)
        elif "failed" in message:
            self._left.add(rank)
            text = message["message"] + (self._standing() if first else "")
            self._fail(of_exit_code(message["code"], message["failed"], text, message["hint"]))
            self._links.drop(rank)  # type: ignore[union-attr]

    def _lost(self, rank: int) -> None:
        # 143, as of a rank that was stopped: what counts is how the lost one's own pod ended, or that its node is gone.
        message = (
            f"{self.places.name(rank)} went away without a report{self.places.last(rank)}: it was killed, or its node is gone."
            f"{self._standing()}"
        )
        self._fail(Stopped("RankLost", message, hint=LOOK))

    def _fail(self, fault: Fault) -> None:
        """Another rank has failed: the first time counts, and all must hear of it."""
        if self._failure is not None:
            return
        self._failure = fault, time.monotonic()
        self._heard.set()
        if self.rank == 0 and self._links is not None:
            self._links.send(_failed(fault, fault.message))

    def _signalled(self, numbers: bytes) -> None:
        if self._stop_since is None and {signal.SIGTERM, signal.SIGINT} & set(numbers):
            self._stop_since = time.monotonic()
            if self.rank and self._links is not None:
                self._links.send({"stop": True})  # the first rank knows where all stand

    def _tell_place(self, now: float) -> None:
        place = self.places.own
        if self._links is None or place is None or now - self._told < TELL_SECONDS or place[1] < self._told:
            return
        self._told = now
        self._links.send({"at": [place[0].epoch, place[0].iteration, place[0].order, place[0].phase]})

    def _watch_failure(self, now: float) -> None:
        if self._failure is not None and not self._stop_noticed and now - self._failure[1] > OUT_SECONDS:
            self._abort(self._failure[0])

    def _watch_stop(self, now: float) -> None:
        seconds = STOP_SHARE * pod.grace_seconds() + (2 * TELL_SECONDS if self.rank else 0)
        if self._stop_since is None or self._stop_noticed or self._failure or now - self._stop_since < seconds:
            return
        message = (
            f"SIGTERM came, and within {seconds:.0f} s the ranks did not come together for a checkpoint: "
            f"{self.places.slowest()}.{self._standing()}"
        )
        fault = Stopped("Stopped", message, hint="The stacks of its threads are in that rank's log.")
        self._dump(f"stopped while {self.places.slowest()}")
        self._fail(fault)
        self._abort(fault)

    def _watch_steps(self, now: float) -> None:
        seconds = self.places.standstill(now)
        if seconds is not None and not self._stalled:
            text = f"No step for {seconds / 60:.0f} minutes: {self.places.slowest()}. Where each rank stands is in its log."
            self._dump(text)
            self.on_stall(text)
        elif self._stalled and seconds is None:
            self.on_stall(None)
        self._stalled = seconds is not None

    # --- Words

    def _standing(self) -> str:
        if self.rank:
            return ""
        if self._checkpoint is None:
            return " No checkpoint was written since this attempt began."
        return f" The checkpoint of epoch {self._checkpoint[0]}, iteration {self._checkpoint[1]} stands."

    def _dump(self, text: str) -> None:
        log.warning("%s (%s; the stacks of its threads follow)", text, self.places.name(self.rank))
        faulthandler.dump_traceback(file=2, all_threads=True)

    # --- The end

    def _cause(self, error: BaseException) -> BaseException:
        """What a broken collective is the consequence of; any other error is its own cause."""
        if isinstance(error, Fault) or self.world_size == 1 or not is_broken_collective(error):
            return error
        if self._stop_noticed:
            return Stopped(
                "Stopped", f"The training was stopped; another rank left before all had agreed on that.{self._standing()}"
            )
        self._heard.wait(CAUSE_SECONDS)
        if self._failure is not None:
            return self._failure[0]
        message = (
            f"{self.places.name(self.rank)} lost the connection to another rank ({str(error).splitlines()[0][:300]}); "
            f"{self.places.slowest()}.{self._standing()}"
        )
        return Temporary("RankConnectionLost", message)

    def _abort(self, fault: Fault) -> None:
        if self._links is not None:
            self._links.send(_failed(fault, fault.message))
            self._links.close()
        self._end(fault)
        self._leaving.wait()  # the main thread is on its way out after all

    def _leave(self, error: BaseException | None) -> None:
        """The main thread is on its way out: tell why, and let the thread end."""
        fault: Fault | None = None if error is None else as_fault(error)
        if fault is None or (isinstance(fault, Stopped) and self._stop_noticed) or self._failure is not None:
            self._last_words.append({"left": True})
        else:
            verb, standing = "was stopped" if isinstance(fault, Stopped) else "failed", self._standing()
            more = "" if standing in fault.message else standing
            self._last_words.append(_failed(fault, f"{self.places.name(self.rank)} {verb}: {fault.message}{more}"))
        self._leaving.set()
        if self._links is not None:
            self._links.wake()
        if self._thread is not None:
            self._thread.join(timeout=LEAVE_SECONDS)


def is_broken_collective(error: BaseException) -> bool:
    """Whether an error is of torch.distributed's connections, not of this rank's own work."""
    text = f"{type(error).__name__} {error}"
    return isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "NCCL", "DistNetworkError", "Connection "))


def joined(rank: int, world_size: int, store: Any, address: str) -> Peers:
    """The peers of a process group's rank.

    Args:
        rank: of this process.
        world_size: processes.
        store: of `rendezvous.meet`.
        address: of the first rank.
    """
    try:
        links = Links(rank, store, address)
    except (OSError, RuntimeError) as error:
        why = str(error).splitlines()[0][:200]
        message = f"Rank {rank} on {socket.gethostname()} could not be connected with rank 0 at {address}: {why}"
        raise Temporary("RankMissing", message, hint="May the pods of the training reach each other (NetworkPolicies)?") from error
    if rank:
        links.send({"node": socket.gethostname()})
    return Peers(rank, world_size, links)


def _failed(fault: Fault, message: str) -> Message:
    return {"failed": fault.reason, "code": int(fault.exit_code), "message": message[:4000], "hint": fault.hint[:1000]}
