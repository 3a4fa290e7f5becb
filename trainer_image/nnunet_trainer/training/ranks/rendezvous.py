"""How ranks find each other; one that never comes is named, not waited for without end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

import torch.distributed as dist

from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import Temporary

LOOK_SECONDS = 0.2
LAST_WORDS = 5.0
"""Seconds that rank 0 keeps the store open, so that every rank learns who is missing."""


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
        check: called while waiting; what it raises ends that.

    Raises:
        Temporary: not all came in time; ranks and nodes of those that are missing are named, by every rank that came.
    """
    seconds, began = deadline_seconds(), time.monotonic()
    me = f"rank {rank} on {socket.gethostname()}"
    try:
        # torch would wait for the first rank without hearing of anything else.
        while rank and not _listens(address, port) and time.monotonic() - began < seconds:
            check()
            time.sleep(LOOK_SECONDS)
        left = timedelta(seconds=max(1.0, seconds - (time.monotonic() - began)))
        store = dist.TCPStore(address, port, world_size, is_master=rank == 0, timeout=left, wait_for_workers=False)
        store.set(_key(rank), socket.gethostname())
    except (RuntimeError, ValueError) as error:
        what = "cannot listen there" if rank == 0 else f"did not answer {me} within {seconds:g} s"
        raise Temporary(
            "RankMissing",
            f"Rank 0 at {address}:{port} {what} ({str(error).splitlines()[0][:200]}).",
            hint="Do all pods of the training run, and may they reach each other (NetworkPolicies)?",
        ) from error
    missing = list(range(world_size))
    try:
        while missing and not store.check([_missing_key()]):
            check()
            missing = [other for other in missing if not store.check([_key(other)])]
            if missing and time.monotonic() - began > seconds:
                break
            if missing:
                time.sleep(LOOK_SECONDS)
        if not missing:
            return store
        if rank == 0:
            store.set(_missing_key(), ",".join(map(str, missing)))
            told, until = {0}, time.monotonic() + LAST_WORDS
            while len(told) < world_size - len(missing) and time.monotonic() < until:
                told = {
                    other for other in range(world_size) if other not in missing and (other == 0 or store.check([_told_key(other)]))
                }
                time.sleep(LOOK_SECONDS / 4)
        else:
            missing = [int(other) for other in store.get(_missing_key()).decode().split(",")]
            store.set(_told_key(rank), "")
    except (RuntimeError, ValueError) as error:
        message = f"Rank 0 at {address}:{port} went away while {me} waited for the others."
        raise Temporary("RankMissing", message) from error
    here = sorted(set(range(world_size)) - set(missing))
    raise Temporary(
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


def _missing_key() -> str:
    return "missing"
