"""Gradients are summed over ranks in buckets, each as soon as backward has all of it: the exchange overlaps with backward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .distributed import active

BUCKET_BYTES = 25 * 2**20


@dataclass(slots=True)
class _Bucket:
    parameters: list[nn.Parameter]
    missing: set[int] = field(default_factory=set)
    sent: tuple[list[Tensor], Tensor, Any] | None = None

    def send(self) -> None:
        """Begin to sum what has a gradient; a parameter without one has none on any rank."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if gradients:
            flat = torch.cat([g.reshape(-1) for g in gradients])
            self.sent = gradients, flat, dist.all_reduce(flat, async_op=True)

    def receive(self) -> None:
        """Wait for the sums, and put them in the gradients' place."""
        if self.sent is None:
            return
        gradients, flat, work = self.sent
        work.wait()
        for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))
        self.sent = None


class GradientExchange:
    """Sums the gradients of a backward pass over all ranks.

    Buckets are sent in one order, on every rank the same: from the last parameters, whose gradients come first, to the first ones.

    Args:
        parameters: all of the network's, in its order; those that do not require a gradient when a pass begins are left out of it.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._buckets: list[_Bucket] = []
        self._next = 0
        self._bucket_of: dict[int, _Bucket] = {}
        for parameter in self._parameters if active() else ():
            trains = parameter.requires_grad
            parameter.requires_grad_(True).register_post_accumulate_grad_hook(self._arrived)
            parameter.requires_grad_(trains)  # torch takes hooks only of what trains

    def begin(self) -> None:
        """Before backward."""
        if not active():
            return
        trained = [p for p in reversed(self._parameters) if p.requires_grad]
        self._buckets = [_Bucket(some, {id(p) for p in some}) for some in buckets(trained)]
        self._bucket_of = {id(p): bucket for bucket in self._buckets for p in bucket.parameters}
        self._next = 0

    def finish(self) -> None:
        """After backward: send what is left, wait for all."""
        for bucket in self._buckets[self._next :]:
            bucket.send()
        for bucket in self._buckets:
            bucket.receive()
        self._buckets, self._bucket_of, self._next = [], {}, 0

    def _arrived(self, parameter: Tensor) -> None:
        bucket = self._bucket_of.get(id(parameter))
        if bucket is None:
            return
        bucket.missing.discard(id(parameter))
        while self._next < len(self._buckets) and not self._buckets[self._next].missing:
            self._buckets[self._next].send()
            self._next += 1


def buckets(parameters: Sequence[nn.Parameter] | Sequence[Tensor]) -> Iterator[list[Any]]:
    """Consecutive tensors of one type, each about `BUCKET_BYTES` together."""
    bucket: list[Any] = []
    size = 0
    for parameter in parameters:
        if bucket and (size >= BUCKET_BYTES or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel() * parameter.element_size()
    if bucket:
        yield bucket
