"""How a rank says what happened to another one: the faults, and the messages in which ranks tell each other of them."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import torch.distributed as dist

from nnunet_trainer.contract.faults import Fault, Stopped, Temporary, means_gpu_out_of_memory, of_exit_code

from .peer_links import Message
from .places import Places

LOOK = "See that pod's log, and its node."


def written(fault: Fault, message: str) -> Message:
    """A fault as a message to other ranks, in these words."""
    return {"failed": fault.reason, "code": int(fault.exit_code), "message": message[:4000], "hint": fault.hint[:1000]}


def read(message: Message, more: str) -> Fault:
    """The fault that another rank told of, with more words after its own."""
    return of_exit_code(message["code"], message["failed"], message["message"] + more, message["hint"])


def standing(checkpoint: tuple[int, int] | None) -> str:
    """Which checkpoint (finished epochs, iterations of the next one) stands, as a sentence that follows another."""
    if checkpoint is None:
        return " No checkpoint was written since this attempt began."
    return f" The checkpoint of epoch {checkpoint[0]}, iteration {checkpoint[1]} stands."


def stopped_at_the_start() -> Stopped:
    """SIGTERM came while the ranks found each other."""
    return Stopped("Stopped", "The training was stopped before its first epoch.")


def never_connected(missing: Sequence[int]) -> Stopped:
    """Ranks that arrived and then were not heard of."""
    who = ", ".join(f"rank {rank}" for rank in missing)
    return Stopped("RankLost", f"{who} had arrived, and went away before the training began.", hint=LOOK)


def first_went_away(rank: int) -> Stopped:
    """Rank 0 went away while others found it: 143 for the same cause as `lost`."""
    message = f"rank 0 went away before the training began, while rank {rank} on {socket.gethostname()} was with it: it was "
    return Stopped("RankLost", message + "stopped or killed, or its node is gone.", hint=LOOK)


def lost(places: Places, rank: int, stands: str) -> Stopped:
    """A rank whose connection ended without a word: 143, since what counts is how its own pod ended, or that its node is gone."""
    message = f"{places.name(rank)} went away without a report{places.last(rank)}: it was killed, or its node is gone.{stands}"
    return Stopped("RankLost", message, hint=LOOK)


def not_together(places: Places, seconds: float, stands: str) -> Stopped:
    """SIGTERM came, and a rank hangs."""
    message = (
        f"SIGTERM came, and within {seconds:.0f} s the ranks did not come together for a checkpoint: {places.slowest()}.{stands}"
    )
    return Stopped("Stopped", message, hint="The stacks of its threads are in that rank's log.")


def connection_lost(places: Places, error: BaseException, stands: str) -> Temporary:
    """A collective broke, and no rank said why."""
    message = (
        f"{places.name(places.rank)} lost the connection to another rank ({str(error).splitlines()[0][:300]}); "
        f"{places.slowest()}.{stands}"
    )
    return Temporary("RankConnectionLost", message)


def is_broken_collective(error: BaseException) -> bool:
    """Whether an error is of torch.distributed's connections, not of this rank's own work or memory."""
    if not isinstance(error, RuntimeError) or means_gpu_out_of_memory(error):
        return False
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "NCCL", "Connection "))
