"""How ranks find each other; one that never comes is named, not waited for without end."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch.distributed as dist

from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import Fault, Stopped, Temporary

from . import peer_faults

LOOK_SECONDS = 0.2
TRY_SECONDS = 5.0
"""Of one attempt to come to the first rank."""
LAST_WORDS = 5.0
"""Seconds that rank 0 keeps the store open, so that every rank learns why the training does not begin."""
_WHY = "why"


def deadline_seconds() -> float:
    """How long ranks wait for each other (`spec.workers.rendezvousDeadlineSeconds`)."""
    return float(os.environ.get(pod.ENV_RENDEZVOUS_SECONDS, pod.RENDEZVOUS_SECONDS))


def meet(rank: int, world_size: int, address: str, port: int, check: Callable[[], None] = lambda: None) -> dist.Store:
    """The store of the process group, when all ranks have come to it.

    Args:
        rank: of this process; 0 keeps the store.
        world_size: processes.
        address: of rank 0.
        port: of rank 0.
        check: called while waiting; what it raises ends that, and the others hear of it.

    Raises:
        Temporary: not all came in time; ranks and nodes of those that are missing are named, by every rank that came.
        Stopped: another rank was stopped, or rank 0 went away (`peer_faults.first_went_away`).
    """
    seconds, began = deadline_seconds(), time.monotonic()
    try:
        store = _store(rank, world_size, address, port, began + seconds, check)
    except (RuntimeError, ValueError) as error:
        what = "cannot listen there" if rank == 0 else f"did not answer rank {rank} on {socket.gethostname()} within {seconds:g} s"
        raise Temporary(
            "RankMissing",
            f"Rank 0 at {address}:{port} {what} ({str(error).splitlines()[0][:200]}).",
            hint="Do all pods of the training run, and may they reach each other (NetworkPolicies)?",
        ) from error
    missing = list(range(world_size))
    with ending_together(store, rank, world_size):
        store.set(_key(rank), socket.gethostname())
        # Rank 0 says who is missing; the others wait somewhat longer for its words.
        until = began + seconds + (LAST_WORDS if rank else 0.0)
        while missing := [other for other in missing if not store.check([_key(other)])]:
            if time.monotonic() > until:
                raise _not_arrived(missing, world_size, seconds)
            pause(store, check)
    return store


def pause(store: dist.Store, check: Callable[[], None]) -> None:
    """A moment of waiting for other ranks, within `ending_together`.

    Args:
        store: of the process group to be.
        check: what it raises ends the waiting.

    Raises:
        Fault: what another rank ended with while it waited.
    """
    check()
    if store.check([_WHY]):
        raise peer_faults.read(json.loads(store.get(_WHY)), "")
    time.sleep(LOOK_SECONDS)


@contextmanager
def ending_together(store: dist.Store, rank: int, world_size: int) -> Iterator[None]:
    """Of ranks that find each other, one that ends tells the others why, and rank 0 leaves when they have heard it.

    Args:
        store: of the process group to be.
        rank: of this process.
        world_size: processes.

    Raises:
        Stopped: rank 0, which keeps the store, went away.
    """
    try:
        yield
    except Fault as fault:
        with suppress(RuntimeError):  # rank 0 is gone
            _part(store, rank, world_size, fault)
        raise
    except RuntimeError as error:
        if rank and peer_faults.is_broken_collective(error):
            raise peer_faults.first_went_away(rank) from error
        raise


def _store(rank: int, world_size: int, address: str, port: int, until: float, check: Callable[[], None]) -> dist.Store:
    while True:
        # torch would wait for the first rank without hearing of anything else; so it does where that one has just gone again.
        while rank and not _listens(address, port) and time.monotonic() < until:
            check()
            time.sleep(LOOK_SECONDS)
        left = max(1.0, until - time.monotonic())
        try:
            within = timedelta(seconds=min(TRY_SECONDS, left) if rank else left)
            store = dist.TCPStore(address, port, world_size, is_master=rank == 0, timeout=within, wait_for_workers=False)
        except RuntimeError:
            if rank == 0 or time.monotonic() > until:
                raise
            check()
        else:
            store.set_timeout(timedelta(seconds=left))
            return store


def _part(store: dist.Store, rank: int, world_size: int, fault: Fault) -> None:
    if not store.check([_WHY]):
        stopped = isinstance(fault, Stopped)
        message = f"rank {rank} on {socket.gethostname()} was stopped: {fault.message}" if stopped else fault.message
        store.set(_WHY, json.dumps(peer_faults.written(fault, message)))
    store.set(_told_key(rank), "")
    until = time.monotonic() + LAST_WORDS
    while rank == 0 and time.monotonic() < until:
        arrived = [other for other in range(world_size) if store.check([_key(other)])]
        if all(store.check([_told_key(other)]) for other in arrived):
            return
        time.sleep(LOOK_SECONDS / 4)


def _not_arrived(missing: Sequence[int], world_size: int, seconds: float) -> Temporary:
    here = sorted(set(range(world_size)) - set(missing))
    return Temporary(
        "RankMissing",
        f"{_ranks(missing)} of {world_size} did not arrive within {seconds:g} s; {_ranks(here).lower()} did.",
        hint="Look at the pods of these nodes (completion indexes). How long to wait is spec.workers.rendezvousDeadlineSeconds.",
    )


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1.0):
            return True
    except OSError:  # nor need its name be known yet
        return False


def _ranks(numbers: Iterable[int]) -> str:
    """Ranks with the nodes that they belong to, where those are known from the number of ranks a node."""
    numbers, local = list(numbers), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = sorted({number // local for number in numbers})
    return (
        f"Rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} "
        f"(node{'s' if len(nodes) > 1 else ''} {', '.join(map(str, nodes))})"
    )


def _key(rank: int) -> str:
    return f"arrived/{rank}"


def _told_key(rank: int) -> str:
    return f"told/{rank}"
