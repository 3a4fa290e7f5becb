"""Instance normalization, and the leaky ReLU after it, of tensors whose channels lie last in memory (NHWC, NDHWC), on a CPU.

torch's own copies such a tensor to the other layout and back, forward and backward: the copies cost more than the convolutions gain by
theirs (pytorch#59168). Here nothing is copied. Few rows at a time pass through all operations, so that they stay in the cache; means and
variances of the parts are put together in double precision (Chan, Golub and LeVeque, 1979).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PART = 2**16
"""Elements of a part, for each thread: as float32 a quarter of a MiB, of which two or three fit into the cache of a core."""


def run(modules: Iterable[nn.Module], x: Tensor) -> Tensor:
    """The output of modules in a row, as of `nn.Sequential`; the values of `_NormActivation` where it does their work."""
    left = list(modules)
    while left:
        module = left.pop(0)
        if not fits(module, x):
            x = module(x)
            continue
        slope = left.pop(0).negative_slope if left and type(left[0]) is nn.LeakyReLU else None
        x = _NormActivation.apply(x, module.weight, module.bias, module.eps, slope)
    return x


def fits(module: nn.Module, x: Tensor) -> bool:
    """Whether this module's work on this tensor can be done without copies."""
    if x.device.type != "cpu" or not isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d):
        return False
    last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    return (
        module.weight is not None
        and module.weight.dtype == x.dtype
        and not module.track_running_stats
        and x.ndim in (4, 5)
        and x.shape[2:].numel() > 1
        and x.is_contiguous(memory_format=last)
        and not x.is_contiguous()
    )


class _NormActivation(torch.autograd.Function):
    """γ·(x-mean)/√(var+ε)+β of each sample and channel, then a leaky ReLU unless its slope is None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float | None) -> Tensor:
        count = _rows(x).shape[1]
        mean, variance = _moments(x)
        inverse = (variance + eps).rsqrt()
        scale = weight * inverse
        shift, scale = _as_row(bias - mean * scale, x), _as_row(scale, x)
        result = torch.empty_like(x)
        for part, out in _parts(x, result):
            torch.addcmul(shift, part, scale, out=out)
            if slope is not None:
                F.leaky_relu_(out, slope)
        ctx.save_for_backward(x, weight, mean, inverse, *([] if slope is None else [result]))
        ctx.count, ctx.slope = count, slope
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, *result = ctx.saved_tensors
        if gradient.stride() != x.stride():
            gradient = torch.empty_like(x).copy_(gradient)
        through = torch.empty_like(x) if result else gradient
        centre, sums, products = _as_row(mean, x), [], []
        for part, given, after, *activated in _parts(x, gradient, through, *result):
            if activated:
                torch.ops.aten.leaky_relu_backward.grad_input(given, *activated, ctx.slope, True, grad_input=after)
            sums.append(after.sum(1))
            products.append((part - centre).mul_(after).sum(1))
        to_bias = torch.stack(sums).double().sum(0)
        to_weight = torch.stack(products).double().sum(0) * inverse
        # γ/σ·(g - mean(g) - x̂·mean(g·x̂)) with x̂ = (x-mean)/σ, as one line in g and x.
        scale = weight * inverse
        slope = -scale * inverse * to_weight / ctx.count
        shift = _as_row(-scale * to_bias / ctx.count - slope * mean, x)
        scale, slope = _as_row(scale, x), _as_row(slope, x)
        found = through if result else torch.empty_like(x)
        for part, given, out in _parts(x, through, found):
            torch.addcmul(shift, given, scale, out=out).addcmul_(part, slope)
        return found, to_weight.sum(0).to(weight.dtype), to_bias.sum(0).to(weight.dtype), None, None


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each sample and channel, (b, c) float64."""
    counts, means, squares = [], [], []
    for (part,) in _parts(x):
        own = part.mean(1, keepdim=True)
        means.append(own[:, 0])
        squares.append((part - own).square_().sum(1))
        counts.append(part.shape[1])
    each, weights = torch.stack(means).double(), torch.tensor(counts, dtype=torch.float64)[:, None, None]
    mean = (each * weights).sum(0) / weights.sum()
    around = ((each - mean).square() * weights).sum(0)
    return mean, (torch.stack(squares).double().sum(0) + around) / weights.sum()


def _rows(x: Tensor) -> Tensor:
    """(b, c, *patch), channels last in memory, as (b, voxels, c)."""
    return x.movedim(1, -1).flatten(1, -2)


def _parts(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The same few rows of each tensor, (b, some, c)."""
    samples, channels = tensors[0].shape[:2]
    rows = max(1, PART * torch.get_num_threads() // (samples * channels))
    return zip(*(_rows(x).split(rows, 1) for x in tensors), strict=True)


def _as_row(values: Tensor, x: Tensor) -> Tensor:
    """Numbers of each sample and channel (b, c) as (b, 1, c), in the precision of a tensor."""
    return values.to(x.dtype)[:, None]
