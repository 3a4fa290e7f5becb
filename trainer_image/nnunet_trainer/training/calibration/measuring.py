"""The most bytes that tensors hold at once during a training step: of a GPU its allocator's figure, on a CPU they are counted."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnunet_trainer.architecture.memory_format import channels_last_format

from ..components.optimizers import uncompiled
from ..ranks.gradients import GradientExchange
from ..session.optimization.precision import Precision


class AllocationCounter(TorchDispatchMode):
    """Counts the bytes of the tensors that exist while it is entered; what a kernel takes for itself is not among them.

    Args:
        existing: tensors that are there from the start.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing is compiled while it counts, and to skip it torch imports what compiles, 4 seconds of a core."""
        return False

    def __init__(self, existing: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = set[int]()
        for tensor in existing:
            self._see(tensor)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._see(leaf)
        return result

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if place in self._known:
            return
        self._known.add(place)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, place, size)

    def _gone(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


def peak_of(step: Callable[[], Any], device: torch.device, existing: Iterable[Tensor]) -> int:
    """The most bytes that tensors hold on a device at once during a step.

    Args:
        step: what is measured.
        device: where it runs.
        existing: tensors that are there already: a network's and an optimizer's.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    with AllocationCounter(existing) as counter:
        step()
    return counter.peak


def training_step(
    make: Callable[[], nn.Module], batch: int, channels: int, patch: Sequence[int], precision: Precision, device: torch.device
) -> int:
    """The peak of a step as a training does it: forward, cross entropy at each output, backward, AdamW.

    The first step makes the optimizer's state; the second one is measured. Kernels are not compiled: that takes the more memory.
    On a CPU the optimizer's own step is left out: for patches as small as are counted there it takes more than backward.

    Raises:
        torch.OutOfMemoryError: it does not fit.
    """
    try:
        return _peak(make(), batch, channels, patch, precision, device)
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _peak(network: nn.Module, batch: int, channels: int, patch: Sequence[int], precision: Precision, device: torch.device) -> int:
    layout = channels_last_format(len(patch))
    network = network.to(device, memory_format=layout)  # type: ignore[call-overload]
    optimizer, exchange = uncompiled.make(torch.optim.AdamW, network.parameters()), GradientExchange(())

    def loss() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        data = torch.randn(batch, channels, *patch, device=device).contiguous(memory_format=layout)
        with precision.autocast():
            result = network(data)
            outputs = result if isinstance(result, list | tuple) else [result]
            labels = (o.new_zeros((batch, *o.shape[2:]), dtype=torch.long) for o in outputs)
            return torch.stack([F.cross_entropy(o.float(), each) for o, each in zip(outputs, labels, strict=True)]).sum()

    def step() -> None:
        precision.step(loss(), network.parameters(), optimizer, 12.0, exchange, lambda phase: None)

    step()
    state = [value for each in optimizer.state.values() for value in each.values() if isinstance(value, Tensor)]
    optimizer.zero_grad(set_to_none=True)
    measured = step if device.type == "cuda" else lambda: loss().backward()  # type: ignore[no-untyped-call]
    return peak_of(measured, device, [*network.state_dict(keep_vars=True).values(), *state])
