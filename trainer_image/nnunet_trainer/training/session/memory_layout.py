"""In which order a network's tensors lie in memory: on a GPU a short trial says which is faster there."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nnunet_trainer.contract.faults import means_gpu_out_of_memory

from .criterion import outputs
from .precision import Precision

WARM_UP, TIMED = 3, 5
"""Steps of a trial: in the first ones cuDNN looks for its fastest kernels."""

CONTIGUOUS, CHANNELS_LAST = "channels first", "channels last"


@dataclass(frozen=True, slots=True)
class MemoryLayout:
    """What was chosen.

    Attributes:
        name: `CONTIGUOUS` or `CHANNELS_LAST`.
        device: name of the GPU that it was found on; None: it was not tried.
        seconds: of a step, by name.
    """

    name: str = CHANNELS_LAST
    device: str | None = None
    seconds: dict[str, float] | None = None

    def format(self, dimensions: int) -> torch.memory_format:
        """torch's, of a network of 2 or 3 dimensions."""
        if self.name == CONTIGUOUS:
            return torch.contiguous_format
        return torch.channels_last if dimensions == 2 else torch.channels_last_3d

    def saved(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return asdict(self)

    def said(self) -> str:
        """For the log."""
        if self.seconds is None:
            return f"Memory layout: {self.name}."
        times = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in self.seconds.items())
        return f"Memory layout: {self.name}; forward and backward on {self.device} take: {times}."


def chosen(
    network: nn.Module, shape: Sequence[int], precision: Precision, device: torch.device, *, saved: Any = None, fixed: bool = False
) -> MemoryLayout:
    """The layout for a training.

    Args:
        network: of the training; it is not changed.
        shape: of a rank's batch (b, c, *patch).
        precision: of the training.
        device: that trains; on a CPU nothing is tried.
        saved: what a checkpoint holds of an earlier choice: it stays as long as the GPU is of the same kind.
        fixed: choose without a clock, so that the same training again chooses the same.
    """
    if device.type != "cuda" or fixed:
        return _again(saved) if fixed and device.type == "cuda" else MemoryLayout()
    kind = torch.cuda.get_device_name(device)
    if isinstance(saved, dict) and saved.get("device") == kind:
        return _again(saved)
    try:
        seconds = tried(network, shape, precision, device)
    except _NotCopied:
        return MemoryLayout()
    except RuntimeError as error:
        if not means_gpu_out_of_memory(error):
            raise
        return MemoryLayout()  # a step without torch.compile needs more memory than the training's own
    finally:
        torch.cuda.empty_cache()
    return MemoryLayout(min(seconds, key=lambda name: seconds[name]), kind, seconds)


class _NotCopied(Exception):
    """Layers of a plug-in may hold what cannot be copied, such as a weight that was computed: they train all the same."""


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise _NotCopied from error


def _again(saved: Any) -> MemoryLayout:
    known = isinstance(saved, dict) and saved.get("name") in (CONTIGUOUS, CHANNELS_LAST)
    return MemoryLayout(saved["name"], saved.get("device"), saved.get("seconds")) if known else MemoryLayout()


def tried(
    network: nn.Module,
    shape: Sequence[int],
    precision: Precision,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Seconds of forward and backward in each layout, on noise and a copy of the network.

    Args:
        network: is copied.
        shape: (b, c, *patch).
        precision: of the training.
        device: where the network is.
        clock: read when the device has done its work.
    """
    found = {}
    for name in (CHANNELS_LAST, CONTIGUOUS):
        layout = MemoryLayout(name).format(len(shape) - 2)
        twin = _copied(network).train().to(memory_format=layout)  # type: ignore[call-overload]
        for module in twin.modules():
            if isinstance(module, _BatchNorm):
                module.eval()  # those over ranks would wait for the others, who try nothing
        data = torch.zeros(tuple(shape), device=device).contiguous(memory_format=layout)
        begun = clock()
        for step in range(WARM_UP + TIMED):
            if step == WARM_UP:
                _done(device)
                begun = clock()
            with precision.autocast():
                loss = torch.stack([output.float().square().mean() for output in outputs(twin(data))]).sum()
            loss.backward()
        _done(device)
        found[name] = (clock() - begun) / TIMED
        del twin, data, loss
    return found


def _done(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
