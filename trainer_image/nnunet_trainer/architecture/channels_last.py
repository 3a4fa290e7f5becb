"""Modules in a row, with what torch does only by copies done without them, where channels lie last in memory on a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .channels_last_norm import NormActivation, rows


def run(modules: Iterable[nn.Module], x: Tensor) -> Tensor:
    """The output of modules in a row, as of `nn.Sequential`."""
    left = list(modules)
    while left:
        module = left.pop(0)
        if normalizes(module, x):
            slope = left.pop(0).negative_slope if left and type(left[0]) is nn.LeakyReLU else None
            x = NormActivation.apply(x, module.weight, module.bias, module.eps, slope)
        elif is_linear(module, x):
            # Of few threads torch convolves a single voxel in the other layout.
            x = F.linear(rows(x), module.weight.flatten(1), module.bias).unflatten(1, x.shape[2:]).movedim(-1, 1)
        else:
            x = module(x)
            if isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d) and x.device.type == "cpu":
                x = ContiguousGradient.apply(x)
    return x


class ContiguousGradient(torch.autograd.Function):
    """The identity. A single sample's gradient whose channels lie last is misread by torch's instance normalization on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)  # not a view: the activation that follows works in place
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous()


def channels_last(x: Tensor) -> bool:
    """Whether a tensor (b, c, *patch) lies so, on a CPU, and not in the other layout too (of one channel)."""
    if x.device.type != "cpu" or x.ndim not in (4, 5) or x.is_contiguous():
        return False
    return x.is_contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def normalizes(module: nn.Module, x: Tensor) -> bool:
    """Whether it is an instance normalization, and this its input, for `NormActivation`."""
    return (
        isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d)
        and module.weight is not None
        and module.weight.dtype == x.dtype
        and not module.track_running_stats
        and x.shape[2:].numel() > 1  # of one torch says what is wrong
        and channels_last(x)
    )


def is_linear(module: nn.Module, x: Tensor) -> bool:
    """Whether it convolves single voxels, that is multiplies channels by a matrix, and this is its input."""
    return (
        isinstance(module, nn.Conv2d | nn.Conv3d)
        and module.weight[0, 0].numel() == 1
        and set(module.stride) == {1}
        and set(module.padding) == {0}
        and module.groups == 1
        and module.weight.dtype == x.dtype
        and channels_last(x)
    )
