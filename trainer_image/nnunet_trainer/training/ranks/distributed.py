"""Ranks: one process a device, by torchrun's variables. One process needs no process group.

The convention of this package: a rank's loss is its *share* of the whole batch's loss, and gradients are *summed* over ranks.
Then any split of a batch, an uneven one too, gives the gradients of a single process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from nnunet_trainer.contract.control_groups import cpu_limit
from nnunet_trainer.contract.faults import BadUsage, Fault

from . import devices, peer_faults, peers, rendezvous
from .peers import Peers

TIMEOUT = timedelta(minutes=30)
PATIENCE = timedelta(days=30)
"""Of a group whose ranks may be hours apart. One that dies closes its connections, which ends the others' waiting at once."""
LOOK_SECONDS = 0.1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among all of the training."""

    rank: int
    world_size: int
    local_rank: int
    device: torch.device
    local_world_size: int = 1
    """Ranks of this node."""
    peers: Peers = field(default_factory=Peers, compare=False)
    """Whether the others go on."""

    @property
    def cores(self) -> int:
        """Cores for each rank of this node."""
        return max(1, cpu_limit() // self.local_world_size)

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0


@contextmanager
def ranks(device: str = "auto", stop: Event | None = None) -> Iterator[Ranks]:
    """Join the process group that RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT describe, and leave it at the end.

    Args:
        device: auto (CUDA where there is a GPU), cpu, cuda, or cuda:N for a single process.
        stop: when set while the ranks find each other, `Stopped` is raised.

    Raises:
        BadConfiguration: there is no such device (`devices.choose`).
        BadUsage: the variables are incomplete.
        Stopped: `stop` was set.
        Temporary: a rank did not arrive in time.
        Fault: what another rank failed with, in place of a collective that broke.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")))
    chosen = devices.choose(device, local if world > 1 else None, int(os.environ.get("LOCAL_WORLD_SIZE", local + 1)))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        alone = Ranks(0, 1, 0, chosen)
        with alone.peers.watching():
            yield alone
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise BadUsage("IncompleteRanks", f"WORLD_SIZE is {world}, but {', '.join(missing)} is not set.", hint="Use torchrun.")

    def check() -> None:
        if stop is not None and stop.is_set():
            raise peer_faults.stopped_at_the_start()

    # gloo beside NCCL: flags and lists go over the CPU, without waiting for the GPU's queue.
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    with peers.own_stop_first(stop):
        store = rendezvous.meet(rank, world, os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), check)
        others = peers.joined(rank, world, store, os.environ["MASTER_ADDR"], check)
    with others.watching():
        check()
        # It connects each with each, and waits for one that is gone.
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=TIMEOUT)
        others.connected()
        yield Ranks(rank, world, local, chosen, int(os.environ.get("LOCAL_WORLD_SIZE", world)), others)
        # Not on the way out of an error: NCCL would wait for ranks that are in a collective, and the error would not be told.
        dist.destroy_process_group()


def active() -> bool:
    """Whether there is a process group: `ranks` makes one for more than one process."""
    return dist.is_available() and dist.is_initialized()


def _summed(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # What follows is the same on every rank, so every rank has the same gradient here: their sum needs no communication.
        return grads[0] * dist.get_world_size()


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum over ranks, differentiable. What is computed from it must be the same on every rank."""
    return _Sum.apply(x) if active() else x


def share_of_common(x: Tensor) -> Tensor:
    """This rank's share of a value that all ranks have in common."""
    return x / dist.get_world_size() if active() else x


class _SumOfEach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # Each rank makes something else of the sum: its gradient is that of all ranks' shares of the loss.
        return _summed(grads[0])


def sum_for_each_rank(x: Tensor) -> Tensor:
    """The sum over ranks, differentiable, from which each rank may compute something else."""
    return _SumOfEach.apply(x) if active() else x


def largest(values: Tensor, count: int) -> Tensor:
    """The `count` largest values (n,) of all ranks' together, in descending order, not differentiable; every rank gets the same.

    Args:
        values: (k,) of this rank, its own largest; ranks may have unequal numbers of them.
        count: all ranks have as many values together.
    """
    values = values.detach()
    if active():
        sizes = [int(n) for n in total([float(len(values)) if i == dist.get_rank() else 0.0 for i in range(dist.get_world_size())])]
        padded = values.new_full((max(sizes),), -torch.inf)
        padded[: len(values)] = values
        gathered = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(gathered, padded)
        values = torch.cat([each[:size] for each, size in zip(gathered, sizes, strict=True)])
    return torch.topk(values, count).values


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every rank the first one's values, in place."""
    if active():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def total(values: Sequence[float]) -> list[float]:
    """Numbers summed over ranks (over the CPU)."""
    if not active():
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    return summed.tolist()


def from_first(value: Any) -> Any:
    """The first rank's object."""
    if not active():
        return value
    box = [value]
    dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
    return box[0]


def done_by_first(work: Callable[[], T], of_others: T) -> T:
    """What the first rank alone does. Every rank calls this, and its fault is raised on all: none waits in the next collective.

    Args:
        work: done by the first rank.
        of_others: what the others get.
    """
    found, problem = of_others, None
    if not active() or dist.get_rank() == 0:
        try:
            found = work()
        except Fault as fault:
            problem = fault
    if problem := from_first(problem):
        raise problem
    return found


def barrier() -> None:
    """Wait for all ranks."""
    total([0.0])


@contextmanager
def patient() -> Iterator[dist.ProcessGroup | None]:
    """A group over the CPU for work that takes one rank hours more than another; None for a single process."""
    if not active():
        yield None
        return
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        yield group
    finally:
        dist.destroy_process_group(group)


def meet(group: dist.ProcessGroup | None, check: Callable[[], None] | None = None) -> None:
    """Wait for all ranks of a patient group.

    Args:
        group: of `patient`.
        check: called while waiting; what it raises ends that.
    """
    if group is None:
        return
    arrived = dist.all_reduce(torch.zeros(1), group=group, async_op=True)
    while not arrived.is_completed():
        if check:
            check()
        time.sleep(LOOK_SECONDS)
    arrived.wait()
