"""Instance normalization, and the leaky ReLU after it, of tensors whose channels lie last in memory (NHWC, NDHWC), on a CPU.

torch's own copies such a tensor to the other layout and back, forward and backward: the copies cost more than the convolutions gain
by theirs (pytorch#59168). Here nothing is copied, and a large tensor is gone through in parts that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

PART = 2**18
"""Elements of a part, for each thread: as float32 one MiB, a part of a core's cache."""
ROW = 128
"""Numbers in a row, about: operations on short rows take several times as long, and some networks have eight channels."""


class NormActivation(torch.autograd.Function):
    """γ·(x-mean)/√(var+ε)+β of each sample and channel, then a leaky ReLU unless its slope is None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float | None) -> Tensor:
        count = x.shape[2:].numel()
        centre = _totals([part.sum(1) for (part,) in _parts(x)], x) / count
        row, left, squares = _as_row(centre, x), [], []
        for (part,) in _parts(x):
            around = part - row
            left.append(around.sum(1))
            squares.append(around.square_().sum(1))
        # What rounding left of the mean, which counts where it is much larger than the deviation.
        rest = _totals(left, x) / count
        inverse = (_totals(squares, x) / count + eps).rsqrt_()
        scale = weight * inverse
        shift, scale = _as_row(bias - rest * scale, x), _as_row(scale, x)
        result = torch.empty_like(x)
        for part, out in _parts(x, result):
            torch.sub(part, row, out=out)
            torch.addcmul(shift, out, scale, out=out)
            if slope is not None:
                F.leaky_relu_(out, slope)
        ctx.save_for_backward(x, weight, centre, rest, inverse, *([] if slope is None else [result]))
        ctx.slope = slope
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, centre, rest, inverse, *result = ctx.saved_tensors
        count = x.shape[2:].numel()
        if gradient.stride() != x.stride():
            gradient = torch.empty_like(x).copy_(gradient)
        through = torch.empty_like(x) if result else gradient
        row, sums, products = _as_row(centre, x), [], []
        for part, given, after, *activated in _parts(x, gradient, through, *result):
            if activated:
                torch.ops.aten.leaky_relu_backward.grad_input(given, *activated, ctx.slope, True, grad_input=after)
            sums.append(after.sum(1))
            products.append((part - row).mul_(after).sum(1))
        to_bias = _totals(sums, x)
        to_weight = (_totals(products, x) - rest * to_bias) * inverse
        # γ/σ·(g - mean(g) - x̂·mean(g·x̂)) with x̂ = (x-mean)/σ, as one line in g and x.
        scale = weight * inverse
        slope = -scale * inverse * to_weight / count
        shift = _as_row(-scale * to_bias / count - slope * (centre + rest), x)
        scale, slope = _as_row(scale, x), _as_row(slope, x)
        found = through if result else torch.empty_like(x)
        for part, given, out in _parts(x, through, found):
            torch.addcmul(shift, given, scale, out=out).addcmul_(part, slope)
        return found, to_weight.sum(0), to_bias.sum(0), None, None


def rows(x: Tensor) -> Tensor:
    """(b, c, *patch), channels last in memory, as (b, voxels, c)."""
    return x.movedim(1, -1).flatten(1, -2)


def _voxels_in_row(x: Tensor) -> int:
    """How many voxels, one behind the other in memory, make one row: a power of two that divides their number."""
    channels, voxels, count = x.shape[1], x.shape[2:].numel(), 1
    while count * channels < ROW and voxels % (2 * count) == 0:
        count *= 2
    return count


def _parts(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The same few rows of each tensor, (b, some, voxels in a row · c)."""
    samples, channels = tensors[0].shape[:2]
    length = _voxels_in_row(tensors[0]) * channels
    some = max(1, PART * torch.get_num_threads() // (samples * length))
    return zip(*(rows(x).view(samples, -1, length).split(some, 1) for x in tensors), strict=True)


def _totals(sums: list[Tensor], x: Tensor) -> Tensor:
    """Sums over the rows of each part, (b, voxels in a row · c) each, as those of each sample and channel (b, c)."""
    whole = sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)
    return whole if whole.shape[1] == x.shape[1] else whole.unflatten(1, (-1, x.shape[1])).sum(1)


def _as_row(values: Tensor, x: Tensor) -> Tensor:
    """Numbers of each sample and channel (b, c) as those of a row, (b, 1, voxels in a row · c)."""
    count = _voxels_in_row(x)
    return (values if count == 1 else values.repeat(1, count))[:, None]
