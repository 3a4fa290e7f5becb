"""Whether the other ranks go on: one that fails, is killed or hangs is named by all, and none waits for it without end."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import torch.distributed as dist

from nnunet_trainer.contract.faults import Fault, Stopped, Temporary
from nnunet_trainer.extensions.uncaught_errors import plugins_fault
from nnunet_trainer.process_exit.abort import abort
from nnunet_trainer.process_exit.failures import as_fault

from . import peer_faults, rendezvous
from .peer_links import KEY, Links, Message
from .peer_watch import PeerWatch
from .places import Place, Places

CAUSE_SECONDS = 3.0
"""How long a broken collective waits to hear why it broke."""
STOP_SECONDS = 3.0
"""How long a rank that begins, and whose peer was stopped, waits for its own SIGTERM."""
LEAVE_SECONDS = 10.0
"""Within which the others must have been told why this rank ends."""


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
        self._links = links
        self._watch = PeerWatch(rank, world_size, links, end)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs, and tell the others how it ended.

        Raises:
            Fault: of the rank that failed first, in place of the broken collective that was this rank's end.
        """
        self._watch.start()
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

    @property
    def places(self) -> Places:
        """Where the ranks stand, as far as this one knows."""
        return self._watch.places

    def on_stall(self, told: Callable[[str | None], None]) -> None:
        """Who is told when the training stands still, and with None when it goes on; the first rank's text names the slowest."""
        self._watch.on_stall = told

    def before_abort(self, finish: Callable[[float], object]) -> None:
        """Wait for a thread that writes what would be lost, such as a checkpoint, before this process is ended because it is stuck.

        Args:
            finish: called from a thread, with the seconds that there are for it.
        """
        self._watch.before_abort.append(finish)

    def connected(self) -> None:
        """The process group stands: from here on the ranks agree to stop."""
        self._watch.group_stands = True

    def at(self, epoch: int, iteration: int, phase: str, order: int = -1) -> None:
        """This rank has come to here."""
        self.places.come(Place(epoch, iteration, order, phase))

    def saved(self, epoch: int, iteration: int) -> None:
        """A checkpoint is on disk."""
        self._watch.checkpoint = epoch, iteration

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """While the block runs, this rank waits for a disk, its own or the first rank's: SIGTERM leaves it the whole grace."""
        self._watch.saving = True
        try:
            yield
        finally:
            self._watch.saving_done()

    def stopping(self) -> None:
        """All ranks have agreed to stop: from here on none needs another."""
        self._watch.stopping = True

    def check(self) -> None:
        """Raise what another rank failed with."""
        if self._watch.failure is not None and not self._watch.stopping:
            raise self._watch.failure

    # --- The end

    def _cause(self, error: BaseException) -> BaseException:
        """What a broken collective is the consequence of; the fault of a plug-in's error; any other error is its own cause."""
        watch = self._watch
        if not peer_faults.is_broken_collective(error):
            return plugins_fault(error) or error
        if isinstance(error, Fault) or self.world_size == 1:
            return error
        if watch.stopping:
            left = "The training was stopped; another rank left before all had agreed on that."
            return Stopped("Stopped", left + watch.standing())
        watch.heard.wait(CAUSE_SECONDS)
        if not watch.group_stands and isinstance(watch.failure, Stopped):
            # Whoever stops all ranks reaches one before another: the peer's end may be seen before the own SIGTERM is.
            watch.stop_requested.wait(STOP_SECONDS)
            if watch.stop_requested.is_set():
                return peer_faults.stopped_at_the_start()
        return watch.failure or peer_faults.connection_lost(self.places, error, watch.standing())

    def _leave(self, error: BaseException | None) -> None:
        """The main thread is on its way out: tell why, and let the thread end."""
        watch, fault = self._watch, None if error is None else as_fault(error)
        words: Message = {"left": True}
        if fault is not None and not (isinstance(fault, Stopped) and watch.stopping) and watch.failure is None:
            verb, standing = "was stopped" if isinstance(fault, Stopped) else "failed", watch.standing()
            more = "" if standing in fault.message else standing
            words = peer_faults.written(fault, f"{self.places.name(self.rank)} {verb}: {fault.message}{more}")
        watch.leave(words, LEAVE_SECONDS)


def joined(rank: int, world_size: int, store: dist.Store, address: str, check: Callable[[], None] = lambda: None) -> Peers:
    """The peers of a process group's rank.

    Args:
        rank: of this process.
        world_size: processes.
        store: of `rendezvous.meet`.
        address: of the first rank.
        check: called while waiting; what it raises ends that, and the others hear of it.

    Raises:
        Temporary: the first rank cannot be reached, although it is there.
        Stopped: another rank was stopped, or rank 0 went away.
    """
    with rendezvous.ending_together(store, rank, world_size):
        while rank and not store.check([KEY]):
            rendezvous.pause(store, check)
        try:
            links = Links(rank, store, address, check)
        except OSError as error:
            rendezvous.pause(store, check)  # it may have gone, or say why it goes
            message = f"Rank {rank} on {socket.gethostname()} could not be connected with rank 0 at {address}: {error}"
            hint = "May the pods of the training reach each other (NetworkPolicies)?"
            raise Temporary("RankMissing", message, hint=hint) from error
    if rank:
        links.send({"node": socket.gethostname()})
    return Peers(rank, world_size, links)


@contextlib.contextmanager
def own_stop_first(stop: threading.Event | None) -> Iterator[None]:
    """Whoever stops all ranks reaches one before another: the end of a peer may be seen before the own SIGTERM is.

    Raises:
        Stopped: `stop` is set, in place of what comes of a peer's end.
    """
    try:
        yield
    except Fault as fault:
        by_a_peer = isinstance(fault, Stopped)
        if stop is not None and stop.wait(STOP_SECONDS if by_a_peer else 0.0):
            raise peer_faults.stopped_at_the_start() from fault
        raise
