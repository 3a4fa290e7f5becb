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
PROBED = 64
"""Voxels, spread over a sample, whose mean stands for that of all until it is known."""


class NormActivation(torch.autograd.Function):
    """γ·(x-mean)/√(var+ε)+β of each sample and channel, then a leaky ReLU unless its slope is None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float | None) -> Tensor:
        result, count = torch.empty_like(x), x.shape[2:].numel()
        # About their mean the sums of numbers round little, however far it is from zero.
        centre = _as_matrices(x, x.shape[1])[:, :: -(-count // PROBED)].mean(1)
        lines, result_lines = _lines(x), _lines(result)
        (row,), left, squares = _as_rows(lines, centre), [], []
        for (part,) in _parts(lines):
            around = part - row
            left.append(around.sum(1))
            squares.append(around.square_().sum(1))
        rest, inverse = _totals(x, left, squares).div_(count).unbind()
        inverse = inverse.addcmul_(rest, rest, value=-1).add_(eps).rsqrt_()
        mean, scale = rest.add_(centre), weight * inverse
        scale, shift = _as_rows(lines, scale, torch.addcmul(bias, mean, scale, value=-1))
        for part, out in _parts(lines, result_lines):
            torch.addcmul(shift, part, scale, out=out)
            if slope is not None:
                F.leaky_relu_(out, slope)
        ctx.save_for_backward(x, weight, mean, inverse, *([] if slope is None else [result]))
        ctx.slope = slope
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, *result = ctx.saved_tensors
        if gradient.stride() != x.stride():
            gradient = torch.empty_like(x).copy_(gradient)
        found, count = torch.empty_like(x), x.shape[2:].numel()
        lines, given_lines, found_lines = _lines(x), _lines(gradient), _lines(found)
        through_lines = found_lines if result else given_lines
        (row,), sums, products = _as_rows(lines, mean), [], []
        for part, given, after, *activated in _parts(lines, given_lines, through_lines, *map(_lines, result)):
            if activated:
                torch.ops.aten.leaky_relu_backward.grad_input(given, *activated, ctx.slope, True, grad_input=after)
            sums.append(after.sum(1))
            products.append((part - row).mul_(after).sum(1))
        to_bias, to_weight = _totals(x, sums, products).unbind()
        to_weight = to_weight.mul_(inverse)
        # γ/σ·(g - mean(g) - x̂·mean(g·x̂)) with x̂ = (x-mean)/σ, as one line in g and x.
        scale = weight * inverse
        slope = (scale * inverse).mul_(to_weight).div_(-count)
        shift = (scale * to_bias).div_(-count).addcmul_(slope, mean, value=-1)
        scale, slope, shift = _as_rows(lines, scale, slope, shift)
        for part, given, out in _parts(lines, through_lines, found_lines):
            torch.addcmul(shift, given, scale, out=out).addcmul_(part, slope)
        return found, to_weight.sum(0), to_bias.sum(0), None, None


def rows(x: Tensor) -> Tensor:
    """(b, c, *patch), channels last in memory, as (b, voxels, c)."""
    return x.movedim(1, -1).flatten(1, -2)


def _as_matrices(x: Tensor, length: int) -> Tensor:
    """(b, c, *patch), channels last in memory, as rows of some numbers each, (b, rows, numbers)."""
    each = x[0].numel()
    return x.as_strided((x.shape[0], each // length, length), (each, length, 1))


def _lines(x: Tensor) -> Tensor:
    """(b, c, *patch), channels last in memory, as (b, rows, voxels in a row · c).

    The voxels of a row lie one behind the other in memory: a power of two that divides their number.
    """
    length, voxels = x.shape[1], x.shape[2:].numel()
    while length < ROW and voxels % 2 == 0:
        length, voxels = 2 * length, voxels // 2
    return _as_matrices(x, length)


def _parts(*lines: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The same few rows of each."""
    samples, number, length = lines[0].shape
    some = max(1, PART * torch.get_num_threads() // (samples * length))
    return [lines] if some >= number else zip(*(each.split(some, 1) for each in lines), strict=True)


def _totals(x: Tensor, *sums: list[Tensor]) -> Tensor:
    """Sums over the rows of each part, (b, voxels in a row · c) each, as those of each sample and channel: (kinds, b, c)."""
    stacked = torch.stack([part for kind in sums for part in kind])
    return stacked.view(len(sums), len(sums[0]), x.shape[0], -1, x.shape[1]).sum((1, 3))


def _as_rows(lines: Tensor, *values: Tensor) -> Iterable[Tensor]:
    """Numbers of each sample and channel (b, c) as those of a row of the lines, (b, 1, voxels in a row · c)."""
    repeated = lines.shape[2] // values[0].shape[1]
    return [torch.cat([each] * repeated, 1)[:, None] for each in values]
