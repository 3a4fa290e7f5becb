"""Convolutions to eight channels or fewer, of tensors whose channels lie last in memory, on a CPU with vectors of sixteen numbers.

torch's kernels multiply whole vectors of output channels: of eight channels half of the work is thrown away. Here the channels of
two neighbouring voxels, which lie side by side in memory, are taken as those of one, by a kernel that is one voxel wider and goes
on by two: two thirds of the work, and no copy. A step of a network whose first stage has eight channels takes a twentieth less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .layers import is_torchs
from .memory_format import channels_last_format

FEW = 8
"""Channels: half a vector of float32."""
WIDE_VECTORS = torch.backends.cpu.get_cpu_capability() == "AVX512"
"""Whether a vector of this CPU holds sixteen numbers."""


def is_paired(module: nn.Module, x: Tensor) -> bool:
    """Whether `PairedConvolution` is what this convolution does with this input, and faster on this CPU."""
    return (
        isinstance(module, nn.Conv2d | nn.Conv3d)
        and module.out_channels <= FEW
        and is_torchs(module)
        and (module.kernel_size[-1], module.padding[-1], module.padding_mode) == (3, 1, "zeros")
        and {*module.stride, *module.dilation, module.groups} == {1}
        and x.device.type == "cpu"
        and x.ndim == module.weight.ndim
        and x.shape[-1] % 2 == 0
        and x.dtype == module.weight.dtype == torch.float32
        and all(each.is_contiguous(memory_format=_layout(x)) for each in (x, module.weight))
        and not torch.is_autocast_enabled("cpu")
        and WIDE_VECTORS
    )


class PairedConvolution(torch.autograd.Function):
    """`F.conv2d` or `F.conv3d` of stride 1; the last axis, of an even length, has a kernel of three voxels and is padded by one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return _convolved(x, weight, bias, padding).detach()  # not a view: the activation that follows works in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=_layout(x))
        needs_x, *needs_parameters = ctx.needs_input_grad[:3]
        to_x = to_weight = to_bias = None
        if needs_x and x.shape[1] <= FEW:
            padding = [size - 1 - before for size, before in zip(weight.shape[2:], ctx.padding, strict=True)]
            to_x = _convolved(gradient, weight.flip(*range(2, x.ndim)).transpose(0, 1), None, padding)
        elif needs_x:
            to_x = _gradients(gradient, x, weight, 1, ctx.padding, [True, False, False])[0]
        if any(needs_parameters):
            pairs = gradient.movedim(1, -1).unflatten(-2, (-1, 2)).flatten(-2).movedim(-1, 1)
            _, to_weight, to_bias = _gradients(pairs, x, _of_pairs(weight), 2, ctx.padding, [False, *needs_parameters])
        if to_weight is not None:
            left, right = to_weight.chunk(2)
            to_weight = left[..., :-1] + right[..., 1:]
        if to_bias is not None:
            to_bias = to_bias.view(2, -1).sum(0)
        return to_x, to_weight, to_bias, None


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """(b, i, *patch) convolved by (o, i, *kernel): (b, o, *patch), as a view of the pairs' channels."""
    convolve = F.conv2d if x.ndim == 4 else F.conv3d
    pairs = convolve(x, _of_pairs(weight), None if bias is None else bias.repeat(2), _strides(x, 2), padding)
    return pairs.contiguous(memory_format=_layout(x)).movedim(1, -1).unflatten(-1, (2, -1)).flatten(-3, -2).movedim(-1, 1)


def _of_pairs(weight: Tensor) -> Tensor:
    """Kernels (o, i, …, 3) as those of a pair of voxels, the left one's first: (2·o, i, …, 4)."""
    channels, *others, width = weight.shape
    shape = (2 * channels, *others, width + 1)
    pairs = torch.empty(shape, dtype=weight.dtype, memory_format=_layout(weight)).zero_()
    pairs[:channels, ..., :-1] = weight
    pairs[channels:, ..., 1:] = weight
    return pairs


def _gradients(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: Sequence[int], wanted: list[bool]) -> Any:
    """Of input, weight and bias, those that are wanted; the stride is that of the last axis."""
    ones, zeros = [1] * (x.ndim - 2), [0] * (x.ndim - 2)
    of = torch.ops.aten.convolution_backward
    return of(gradient, x, weight, [len(weight)], _strides(x, stride), padding, ones, False, zeros, 1, wanted)


def _strides(x: Tensor, last: int) -> list[int]:
    return [1] * (x.ndim - 3) + [last]


def _layout(x: Tensor) -> torch.memory_format:
    return channels_last_format(x.ndim - 2)
