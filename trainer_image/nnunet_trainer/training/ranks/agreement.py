"""Ranks that were given other plans, data or weights than the first one: found at the start, not in the result."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

import torch.distributed as dist

from nnunet_trainer.contract.faults import BadConfiguration

from .distributed import active

HINT = (
    "All nodes of a run read the same artifacts and plug-ins: remove what a node has kept of another run (its scratch volume), "
    "leave plug-ins as they are while pods of the run start, and start again."
)


def require_same(facts: Callable[[], Mapping[str, str]]) -> None:
    """Compare what must be the same on every rank; every rank calls this, and all raise the same.

    Args:
        facts: make name → value, short ones (digests of longer ones); not called where one process is alone.

    Raises:
        BadConfiguration: a rank has others than the first one; the findings name ranks, nodes and facts.
    """
    if not active():
        return
    all_facts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(all_facts, (socket.gethostname(), dict(facts())))
    first_node, expected = all_facts[0]
    others = [
        (rank, node, name)
        for rank, (node, found) in enumerate(all_facts)
        for name in sorted({*expected, *found})
        if found.get(name) != expected.get(name)
    ]
    if others:
        raise BadConfiguration(
            "NodesDiffer",
            f"The ranks of this training were not given the same {', '.join(sorted({name for _, _, name in others}))}.",
            findings=[f"rank {rank} on {node} has other {name} than rank 0 on {first_node}" for rank, node, name in others[:20]],
            hint=HINT,
        )
