"""Modules in a row, with what torch does only by copies done without them, where channels lie last in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .channels_last_convolution import PairedConvolution, is_paired
from .channels_last_norm import NormActivation, rows
from .layers import is_torchs
from .memory_format import channels_last_format

NormalizedBy = Literal["torch", "kernels", "expression"]
"""How instances are normalized on a GPU: by torch, by `fused_norm`, which its user has imported, or by `instance_norm`."""


def run(modules: Iterable[nn.Module], x: Tensor, normalized_by: NormalizedBy = "torch") -> Tensor:
    """The output of modules in a row, as of `nn.Sequential`."""
    left = list(modules)
    while left:
        module = left.pop(0)
        if normalizes(module, x):
            slope = _slope(left)
            x = NormActivation.apply(x, module.weight, module.bias, module.eps, slope)
        elif normalized_by != "torch" and normalizes_on_gpu(module, x):
            if normalized_by == "expression":
                x = instance_norm(x, module.weight, module.bias, module.eps)
            else:
                slope = _slope(left)
                x = torch.ops.nnunet.instance_norm(x, module.weight, module.bias, module.eps, 1.0 if slope is None else slope)[0]
        elif is_linear(module, x):
            # Of few threads torch convolves a single voxel in the other layout.
            x = F.linear(rows(x), module.weight.flatten(1), module.bias).unflatten(1, x.shape[2:]).movedim(-1, 1)
        elif is_paired(module, x):
            x = PairedConvolution.apply(x, module.weight, module.bias, module.padding)
        else:
            x = module(x)
            if isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d) and x.device.type == "cpu":
                hooked = module._backward_hooks or module._backward_pre_hooks
                x = ContiguousGradient.apply(x.clone() if hooked else x)  # what has a backward hook answers a view
    return x


def instance_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Instance normalization of (b, c, *patch) with weights (c) in float32. torch.compile makes of it what copies nothing."""
    spatial = tuple(range(2, x.ndim))
    variance, mean = torch.var_mean(x.float(), spatial, correction=0, keepdim=True)
    weight, bias = (each.view(-1, *[1] * len(spatial)) for each in (weight, bias))
    return ((x - mean) * (variance + eps).rsqrt() * weight + bias).to(x.dtype)


def _slope(left: list[nn.Module]) -> float | None:
    """Of the leaky ReLU that comes next, which is taken away; None: another comes, or none."""
    return left.pop(0).negative_slope if left and isinstance(left[0], nn.LeakyReLU) and is_torchs(left[0]) else None


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
    """Whether a tensor (b, c, *patch) lies so, and not in the other layout too (of one channel)."""
    if x.ndim not in (4, 5) or x.is_contiguous():
        return False
    return x.is_contiguous(memory_format=channels_last_format(x.ndim - 2))


def is_instance_norm(module: nn.Module) -> bool:
    """Whether it is torch's own instance normalization with weights, always by the statistics of its input."""
    own = isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d) and is_torchs(module)
    return own and module.weight is not None and not module.track_running_stats


def normalizes(module: nn.Module, x: Tensor) -> bool:
    """Whether it is an instance normalization, and this its input, for `NormActivation`."""
    return x.device.type == "cpu" and is_instance_norm(module) and module.weight.dtype == x.dtype and _several_last(x)


def normalizes_on_gpu(module: nn.Module, x: Tensor) -> bool:
    """Whether it is an instance normalization, and this its input, for `fused_norm` and `instance_norm`."""
    known = x.device.type == "cuda" and x.dtype in (torch.float32, torch.float16, torch.bfloat16)
    return known and is_instance_norm(module) and module.weight.dtype == torch.float32 and _several_last(x)


def _several_last(x: Tensor) -> bool:
    return x.shape[2:].numel() > 1 and channels_last(x)  # of one voxel torch says what is wrong


def is_linear(module: nn.Module, x: Tensor) -> bool:
    """Whether it convolves single voxels, that is multiplies channels by a matrix, and this is its input."""
    return (
        isinstance(module, nn.Conv2d | nn.Conv3d)
        and is_torchs(module)
        and x.device.type == "cpu"
        and module.weight[0, 0].numel() == 1
        and set(module.stride) == {1}
        and set(module.padding) == {0}
        and module.groups == 1
        and module.weight.dtype == x.dtype
        and channels_last(x)
    )
