"""A GPU where there is none: tensors that only say that they lie there. They refuse what would wait for it, and what mixes devices.

torch computes their shapes, types, strides and devices by its own rules for CUDA, autocast's too, and no values: what needs one
(`item`, `nonzero`, a boolean mask as an index) raises an error. Gradients are not followed: torch begins with a GPU for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from nnunet_trainer.training.data.augmentation import augmenter
from nnunet_trainer.training.data.augmentation.functional import elastic, intensity
from nnunet_trainer.training.data.augmentation.interpolation import cubic
from nnunet_trainer.training.data.augmentation.upload import mapped
from nnunet_trainer.training.loop import batches
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPIES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
UPLOADED = {np.dtype(name): getattr(torch, name) for name in ("float32", "int16", "int64")}
"""Types of what is uploaded: float64 would be slow there."""
SCALARS = (torch.ops.aten.add.out,)
"""Operations that are known to take a number of the host's memory beside the GPU's tensors."""


class Copies(TorchDispatchMode):
    """Counts uploads, and refuses copies between host and GPU that wait; `mixed` are other operations on tensors of both.

    Args:
        waits: let them wait, as where results are read.
    """

    def __init__(self, *, waits: bool = False) -> None:
        super().__init__()
        self.waits, self.uploads = waits, 0
        self.mixed: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        devices = {each.device.type for each in tree_leaves((args, kwargs, out)) if isinstance(each, Tensor)}
        if func in COPIES:
            source = args[1] if func is COPIES[0] else args[0]
            if source.device.type != out.device.type:
                late = (kwargs or {}).get("non_blocking") or (func is COPIES[0] and args[2:] and args[2])
                assert self.waits or (late and out.device.type == "cuda"), f"a copy to {out.device} that is waited for: {func}"
                self.uploads += out.device.type == "cuda"
        elif len(devices) > 1 and func not in SCALARS:
            self.mixed.add(str(func))
        return out


class _Event:
    """Passed at once."""

    def __init__(self, **_: Any) -> None:
        """Of any kind."""

    def record(self, *_: Any) -> None:
        """Passed."""

    def synchronize(self) -> None:
        """Passed."""

    def query(self) -> bool:
        """Passed."""
        return True

    def elapsed_time(self, other: _Event) -> float:
        """Of two that were passed at once."""
        return 0.0


class _Stream:
    def __init__(self, *_: Any) -> None:
        """Of any device."""

    def record_event(self) -> _Event:
        return _Event()

    def wait_event(self, event: _Event) -> None:
        """It was passed."""


def there(array: np.ndarray) -> Tensor:
    """What an array would be on the GPU."""
    return torch.empty(array.shape, dtype=UPLOADED[array.dtype], device="cuda")


@contextmanager
def pretended_gpu() -> Iterator[Callable[[np.ndarray], Tensor]]:
    """Tensors made with `device="cuda"` pretend to lie there; tensors made there of Python's numbers, a wait each, are refused.

    Yields:
        `there`.
    """
    made = torch.tensor

    def tensor(*arguments: Any, device: Any = None, **options: Any) -> Tensor:
        assert torch.device(device or "cpu").type == "cpu", "torch.tensor on a GPU waits for it"
        return made(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
        patch.setattr(torch, "tensor", tensor)
        for module in (intensity, elastic):
            patch.setattr(module, "generator", lambda seed, device: torch.Generator())
        patch.setattr(augmenter, "uploaded", lambda tree, device: mapped(tree, there))
        try:
            yield there
        finally:
            cubic._prefilter_on.cache_clear()


@contextmanager
def pretended_training() -> Iterator[None]:
    """The same, for a session's steps: with streams and events, autocast, networks that go there, and fused optimizers.

    Each backward pass gives every parameter that trains a gradient that lies in memory as it does.
    """
    leaves: list[nn.Parameter] = []
    to = _moving(leaves)

    def backward(loss: Tensor) -> None:
        assert (loss.device.type, loss.ndim, loss.requires_grad) == ("cuda", 0, True)
        for parameter in leaves:
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None

    batches._stream.cache_clear()
    with pytest.MonkeyPatch.context() as patch, pretended_gpu():
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
        patch.setattr(torch.cuda, "mem_get_info", lambda *_: (2**36, 2**36))
        patch.setattr(torch.cuda, "Event", _Event)
        patch.setattr(torch.cuda, "Stream", _Stream)
        patch.setattr(torch.cuda, "current_stream", _Stream)
        patch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        patch.setattr(nn.Module, "to", to)
        patch.setattr(Tensor, "backward", backward)
        for name in ("_fused_sgd_", "_fused_adam_", "_fused_adamw_"):
            patch.setattr(torch, name, _fused)
        yield
    batches._stream.cache_clear()


def _moving(leaves: list[nn.Parameter]) -> Callable[..., nn.Module]:
    """`nn.Module.to` for such tensors, which torch cannot exchange in place; `leaves` are the parameters that came to the GPU."""

    def to(module: nn.Module, device: Any = None, *, memory_format: torch.memory_format = torch.preserve_format) -> nn.Module:
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is None:
                    continue
                last = memory_format if parameter.ndim in (4, 5) else torch.preserve_format
                moved = parameter.detach().to(device or parameter.device, memory_format=last)
                if parameter.device.type == "cuda":
                    parameter.data = moved
                else:
                    part._parameters[name] = nn.Parameter(moved)
                    leaves.append(part._parameters[name])  # type: ignore[arg-type]
            for name, buffer in part._buffers.items():
                part._buffers[name] = buffer if buffer is None else buffer.to(device or buffer.device)
        return module

    return to


def _fused(parameters: list[Tensor], *lists: list[Tensor], **options: Any) -> None:
    """What torch's fused kernels demand: all on the GPU, and a parameter's tensors in one type and one order in memory."""
    for own in zip(parameters, *(each for each in lists if each), strict=True):
        assert {each.device.type for each in own} == {"cuda"}
        alike = [each for each in own if each.shape == own[0].shape]  # not Adam's count of steps
        assert len({each.dtype for each in alike}) == 1
        along = {tuple(step for step, n in zip(each.stride(), each.shape, strict=True) if n > 1) for each in alike}
        assert len(along) == 1, f"strides of one parameter's tensors: {along}"
    for name in ("grad_scale", "found_inf"):
        assert options[name] is None or options[name].device.type == "cuda", name
