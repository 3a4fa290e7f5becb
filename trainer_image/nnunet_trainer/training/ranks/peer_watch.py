"""The thread that hears the other ranks and watches this one, for `peers`; it ends the process where the main thread is stuck."""

from __future__ import annotations

import faulthandler
import logging
import signal
import threading
import time
from collections.abc import Callable

from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import Fault, Stopped

from . import peer_faults, places
from .peer_links import Links, Message
from .places import Place, Places

TICK_SECONDS = 0.5
TELL_SECONDS = 2.0
"""Between two messages about where a rank stands."""
OUT_SECONDS = 10.0
"""Within which the main thread must have noticed that another rank failed; else it is in a collective that does not end."""
CONNECT_SECONDS = 30.0
"""Within which a rank that has arrived must be connected."""
STOP_SHARE = 0.7
"""Of the pod's grace period, in which the ranks must have come together after SIGTERM."""
FIRST_SAYS_SECONDS = 4.0
"""How much longer the others wait for the first rank, which knows where all stand, to say who has not."""
SAVING_SECONDS = 60.0
"""How long the end of a stuck rank waits for what its other threads are writing; after SIGTERM, what is left of the grace."""
ANSWER_SECONDS = 0.5
"""What waits for a time returns that much later."""
log = logging.getLogger(__name__)


class PeerWatch:
    """What `Peers` hears and watches while its main thread works; public attributes are set by the main thread, or read by it.

    Args:
        rank: of this process.
        world_size: processes.
        links: to the others; None: there are none.
        end: ends this process although its main thread is stuck.
    """

    def __init__(self, rank: int, world_size: int, links: Links | None, end: Callable[[Fault], None]) -> None:
        self.rank, self.world_size, self.places = rank, world_size, Places(rank, world_size)
        self.on_stall: Callable[[str | None], None] = lambda text: None
        self.before_abort: list[Callable[[float], object]] = []
        self.group_stands = links is None
        """Whether the process group does, so that the ranks can agree to stop."""
        self.saving = self.stopping = False
        """The main thread waits for a disk; all ranks have agreed to stop."""
        self.checkpoint: tuple[int, int] | None = None
        """Finished epochs, and iterations of the next one, of the newest checkpoint of this attempt."""
        self.failure: Fault | None = None
        """Of the rank that failed first."""
        self.heard = threading.Event()
        """That one has failed."""
        self.stop_requested = threading.Event()
        """SIGTERM came, to this rank or another."""
        self._links, self._end = links, end
        self._left: set[int] = set()
        self._failed_at = self._began = self._told = self._saving_ended = 0.0
        self._all_connected = self._stalled = False
        self._stop_since: float | None = None
        self._leaving = threading.Event()
        self._last_words: Message = {}
        self._thread = threading.Thread(target=self._run, name="peers", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def leave(self, last_words: Message, seconds: float) -> None:
        """The main thread is on its way out: tell the others why, and end; wait for that at most so long."""
        self._last_words = last_words
        self._leaving.set()
        if self._links is not None:
            self._links.wake()
        self._thread.join(timeout=seconds)

    def saving_done(self) -> None:
        """The main thread waits for a disk no more."""
        self.saving, self._saving_ended = False, time.monotonic()

    def standing(self) -> str:
        """The sentence about the checkpoint that stands, which the first rank alone can say."""
        return "" if self.rank else peer_faults.standing(self.checkpoint)

    def _run(self) -> None:
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
            self._links.send(self._last_words)
            self._links.close()

    def _watch_connecting(self, now: float) -> None:
        if self._links is None or self._all_connected:
            return
        missing = [rank for rank in self._links.missing(self.world_size) if rank not in self._left]
        self._all_connected = not missing
        if missing and now - self._began > CONNECT_SECONDS:
            self._all_connected = True  # said once
            self._fail(peer_faults.never_connected(missing))

    def _hear(self, rank: int, message: Message | None) -> None:
        first = self.rank == 0
        if message is None:
            if rank not in self._left:
                self._fail(peer_faults.lost(self.places, rank, self.standing()))
        elif "node" in message:
            self.places.nodes[rank] = str(message["node"])
            if first and self._links is not None:
                self._links.send({"node": self.places.nodes[self.rank]}, rank)
                if self.failure is not None:  # it came later than that
                    self._links.send(peer_faults.written(self.failure, self.failure.message), rank)
        elif "at" in message:
            self.places.hear(rank, Place(*message["at"]))
        elif "stop" in message:
            self._stop()
        elif "left" in message:
            self._left.add(rank)
        elif "failed" in message:
            self._left.add(rank)
            self._fail(peer_faults.read(message, self.standing()))
            self._links.drop(rank)  # type: ignore[union-attr]

    def _fail(self, fault: Fault) -> None:
        """Another rank has failed: the first time counts, and all must hear of it."""
        if self.failure is not None:
            return
        self.failure, self._failed_at = fault, time.monotonic()
        self.heard.set()
        if self.rank == 0 and self._links is not None:
            self._links.send(peer_faults.written(fault, fault.message))

    def _signalled(self, numbers: bytes) -> None:
        if self._stop_since is None and {signal.SIGTERM, signal.SIGINT} & set(numbers):
            self._stop()
            if self.rank and self._links is not None:
                self._links.send({"stop": True})  # the first rank knows where all stand

    def _stop(self) -> None:
        self._stop_since = self._stop_since or time.monotonic()
        self.stop_requested.set()

    def _tell_place(self, now: float) -> None:
        place = self.places.own
        if self._links is None or place is None or now - self._told < TELL_SECONDS or place[1] < self._told:
            return
        self._told = now
        self._links.send({"at": [place[0].epoch, place[0].iteration, place[0].order, place[0].phase]})

    def _watch_failure(self, now: float) -> None:
        if self.failure is not None and not self.stopping and now - self._failed_at > OUT_SECONDS:
            self._abort(self.failure)

    def _watch_stop(self, now: float) -> None:
        if self._stop_since is None or self.stopping or self.saving:
            return
        if not self.group_stands and (self.failure is None or isinstance(self.failure, Stopped)):
            self._abort(peer_faults.stopped_at_the_start())  # the main thread is in torch, and there is nothing to save
        if not self.group_stands or self.failure:
            return
        until = self._stop_since + STOP_SHARE * pod.grace_seconds()
        # Whoever waited for a disk until now has come to its next agreement in a part of what is left.
        until = max(until, self._saving_ended + (self._stop_since + pod.leaving_seconds() - self._saving_ended) / 2)
        if now < until + (FIRST_SAYS_SECONDS if self.rank else 0):
            return
        fault = peer_faults.not_together(self.places, now - self._stop_since, self.standing())
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

    def _dump(self, text: str) -> None:
        log.warning("%s (%s; the stacks of its threads follow)", text, self.places.name(self.rank))
        faulthandler.dump_traceback(file=2, all_threads=True)

    def _abort(self, fault: Fault) -> None:
        if self._links is not None:
            self._links.send(peer_faults.written(fault, fault.message))
        self._finish()
        if self._leaving.is_set():  # the main thread is on its way out after all
            return
        if self._links is not None:
            self._links.close()
        self._end(fault)
        self._leaving.wait()  # it came to its own report at the same time

    def _finish(self) -> None:
        """Let what is being saved be saved. A disk that hangs, or one that is full, does not keep this process from its end."""
        for finish in self.before_abort:
            seconds = self._seconds_for_saving()
            thread = threading.Thread(target=_told, args=(finish, seconds), name="before-abort", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no thread can be started any more
                log.warning("What was being saved is lost: %s.", error)
            else:
                thread.join(seconds + ANSWER_SECONDS)

    def _seconds_for_saving(self) -> float:
        if self._stop_since is None:
            return SAVING_SECONDS
        return max(0.0, self._stop_since + pod.leaving_seconds() - time.monotonic())


def _told(finish: Callable[[float], object], seconds: float) -> None:
    try:
        finish(seconds)
    except Exception as error:
        log.warning("What was being saved is lost: %s: %s", type(error).__name__, error)
