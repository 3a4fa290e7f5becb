"""Instance normalization, and the leaky ReLU after it, of tensors whose channels lie last in memory (NHWC, NDHWC), on a GPU.

torch's own copies such a tensor to the other layout and back, forward and backward (pytorch#59168). Here forward reads it twice and
backward reads it and the gradient twice; what lies before the leaky ReLU is computed again, not kept. No sum depends on an order
that a GPU may choose: the same input gives the same bits.

Importing this registers `torch.ops.nnunet.instance_norm` and its gradient, made of Triton's kernels; torch.compile looks into both.

Raises:
    ImportError: there is no Triton, as in torch's builds for a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from .memory_format import channels_last_format

TILE = 2048
"""Elements that a program has in registers: voxels × channels."""
WIDEST = 64
"""Channels of a tile."""
PARTS = 512
"""Most parts of a sample's voxels that are summed each for itself, but for their rounding."""
LEAST_TILES = 4
"""Of a part."""


@triton.jit
def _statistics(x, means, squares, voxels, channels, tiles, TILE_V: tl.constexpr, TILE_C: tl.constexpr):
    """Mean, and sum of squares around it, of each channel in a part of a sample's voxels.

    Around the mean m of the part's first tile, of T: Σ(x-μ)² = Σ(x-m)² - (Σ(x-m))²/n. As the first tile is a T-th of the part,
    (m-μ)² ≤ (T-1)·var, so that no more than a factor T of precision is lost, whatever the mean (Chan, Golub, LeVeque, "Algorithms
    for Computing the Sample Variance", 1983, section 3).
    """
    part, sample = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    column = tl.program_id(2) * TILE_C + tl.arange(0, TILE_C)
    row = part * tiles * TILE_V + tl.arange(0, TILE_V)
    x += sample * voxels * channels + column[None, :]
    exists = column[None, :] < channels
    left = voxels - part * tiles * TILE_V
    first = tl.load(x + row[:, None] * channels, mask=exists & (row[:, None] < voxels), other=0.0).to(tl.float32)
    about = tl.sum(first, 0) / tl.minimum(left, TILE_V).to(tl.float32)
    sums = tl.zeros([TILE_V, TILE_C], tl.float32)
    squared = tl.zeros([TILE_V, TILE_C], tl.float32)
    for _ in range(tiles):
        mask = exists & (row[:, None] < voxels)
        value = tl.load(x + row[:, None] * channels, mask=mask, other=0.0).to(tl.float32)
        value = tl.where(mask, value - about[None, :], 0.0)
        sums += value
        squared += value * value
        row += TILE_V
    total = tl.sum(sums, 0)
    rest = total / tl.minimum(left, tiles * TILE_V).to(tl.float32)
    place = (sample * tl.num_programs(0) + part) * channels + column
    tl.store(means + place, about + rest, mask=column < channels)
    tl.store(squares + place, tl.maximum(tl.sum(squared, 0) - total * rest, 0.0), mask=column < channels)


@triton.jit
def _combine(
    means, squares, mean, inverse, eps, voxels, channels, parts, voxels_a_part, TILE_P: tl.constexpr, TILE_C: tl.constexpr
):
    """Mean and 1/√(var+ε) of each sample and channel, of those of its parts: Σᵢ(sᵢ + nᵢ(mᵢ-μ)²) (Chan et al., 2.1)."""
    sample = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * TILE_C + tl.arange(0, TILE_C)
    exists = column[None, :] < channels
    begin = sample * parts * channels + column
    about = tl.load(means + begin, mask=column < channels, other=0.0)
    sums = tl.zeros([TILE_P, TILE_C], tl.float32)
    for first in range(0, parts, TILE_P):
        part = first + tl.arange(0, TILE_P)
        mask = exists & (part[:, None] < parts)
        count = tl.minimum(voxels - part * voxels_a_part, voxels_a_part).to(tl.float32)
        value = tl.load(means + begin[None, :] + part[:, None] * channels, mask=mask, other=0.0)
        sums += tl.where(mask, count[:, None] * (value - about[None, :]), 0.0)
    centre = about + tl.sum(sums, 0) / voxels
    sums = tl.zeros([TILE_P, TILE_C], tl.float32)
    for first in range(0, parts, TILE_P):
        part = first + tl.arange(0, TILE_P)
        mask = exists & (part[:, None] < parts)
        count = tl.minimum(voxels - part * voxels_a_part, voxels_a_part).to(tl.float32)
        place = begin[None, :] + part[:, None] * channels
        away = tl.load(means + place, mask=mask, other=0.0) - centre[None, :]
        around = tl.load(squares + place, mask=mask, other=0.0)
        sums += tl.where(mask, around + count[:, None] * away * away, 0.0)
    tl.store(mean + sample * channels + column, centre, mask=column < channels)
    tl.store(inverse + sample * channels + column, tl.rsqrt(tl.sum(sums, 0) / voxels + eps), mask=column < channels)


@triton.jit
def _normalize(x, weight, bias, mean, inverse, result, slope, voxels, channels, TILE_V: tl.constexpr, TILE_C: tl.constexpr):
    """z = γ·(x-mean)/√(var+ε)+β, then z or slope·z, of a tile."""
    sample = tl.program_id(1).to(tl.int64)
    column = tl.program_id(2) * TILE_C + tl.arange(0, TILE_C)
    row = tl.program_id(0).to(tl.int64) * TILE_V + tl.arange(0, TILE_V)
    exists, own = column < channels, sample * channels + column
    centre = tl.load(mean + own, mask=exists, other=0.0)
    scale = tl.load(inverse + own, mask=exists, other=0.0) * tl.load(weight + column, mask=exists, other=0.0)
    shift = tl.load(bias + column, mask=exists, other=0.0)
    place = (sample * voxels + row[:, None]) * channels + column[None, :]
    mask = exists[None, :] & (row[:, None] < voxels)
    z = (tl.load(x + place, mask=mask, other=0.0).to(tl.float32) - centre[None, :]) * scale[None, :] + shift[None, :]
    tl.store(result + place, tl.where(z > 0, z, z * slope), mask=mask)


@triton.jit
def _gradient_sums(
    x, given, weight, bias, mean, inverse, sums, slope, voxels, channels, tiles, TILE_V: tl.constexpr, TILE_C: tl.constexpr
):
    """Σg and Σg·x̂ of each channel in a part of a sample's voxels: g the gradient before the leaky ReLU, x̂ = (x-mean)/√(var+ε)."""
    part, sample = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    column = tl.program_id(2) * TILE_C + tl.arange(0, TILE_C)
    row = part * tiles * TILE_V + tl.arange(0, TILE_V)
    exists, own = column < channels, sample * channels + column
    centre = tl.load(mean + own, mask=exists, other=0.0)
    scale = tl.load(inverse + own, mask=exists, other=0.0)
    factor = tl.load(weight + column, mask=exists, other=0.0)
    shift = tl.load(bias + column, mask=exists, other=0.0)
    plain = tl.zeros([TILE_V, TILE_C], tl.float32)
    product = tl.zeros([TILE_V, TILE_C], tl.float32)
    for _ in range(tiles):
        place = (sample * voxels + row[:, None]) * channels + column[None, :]
        mask = exists[None, :] & (row[:, None] < voxels)
        unit = (tl.load(x + place, mask=mask, other=0.0).to(tl.float32) - centre[None, :]) * scale[None, :]
        before = tl.load(given + place, mask=mask, other=0.0).to(tl.float32)
        before = tl.where(unit * factor[None, :] + shift[None, :] > 0, before, before * slope)
        plain += before
        product += before * unit
        row += TILE_V
    place = (sample * tl.num_programs(0) + part) * 2 * channels + column
    tl.store(sums + place, tl.sum(plain, 0), mask=exists)
    tl.store(sums + place + channels, tl.sum(product, 0), mask=exists)


@triton.jit
def _input_gradient(
    x, given, weight, bias, mean, inverse, sums, result, slope, voxels, channels, TILE_V: tl.constexpr, TILE_C: tl.constexpr
):
    """γ/√(var+ε)·(g - mean(g) - x̂·mean(g·x̂)) of a tile (Ioffe, Szegedy, "Batch Normalization", 2015, section 3)."""
    sample = tl.program_id(1).to(tl.int64)
    column = tl.program_id(2) * TILE_C + tl.arange(0, TILE_C)
    row = tl.program_id(0).to(tl.int64) * TILE_V + tl.arange(0, TILE_V)
    exists, own = column < channels, sample * channels + column
    centre = tl.load(mean + own, mask=exists, other=0.0)
    scale = tl.load(inverse + own, mask=exists, other=0.0)
    factor = tl.load(weight + column, mask=exists, other=0.0)
    shift = tl.load(bias + column, mask=exists, other=0.0)
    plain = tl.load(sums + 2 * sample * channels + column, mask=exists, other=0.0) / voxels
    product = tl.load(sums + (2 * sample + 1) * channels + column, mask=exists, other=0.0) / voxels
    place = (sample * voxels + row[:, None]) * channels + column[None, :]
    mask = exists[None, :] & (row[:, None] < voxels)
    unit = (tl.load(x + place, mask=mask, other=0.0).to(tl.float32) - centre[None, :]) * scale[None, :]
    before = tl.load(given + place, mask=mask, other=0.0).to(tl.float32)
    before = tl.where(unit * factor[None, :] + shift[None, :] > 0, before, before * slope)
    found = (factor * scale)[None, :] * (before - plain[None, :] - unit * product[None, :])
    tl.store(result + place, found, mask=mask)


@triton_op("nnunet::instance_norm", mutates_args=())
def instance_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> tuple[Tensor, Tensor, Tensor]:
    """γ·(x-mean)/√(var+ε)+β of each sample and channel, then a leaky ReLU.

    Args:
        x: (b, c, *patch), float32, float16 or bfloat16, channels last in memory.
        weight: γ (c), float32.
        bias: β (c), float32.
        eps: ε.
        slope: of the leaky ReLU; 1: none.

    Returns:
        The result as x is, as of `nn.InstanceNorm3d` under autocast too; mean and 1/√(var+ε), (b, c) in float32, for the gradient.
    """
    samples, channels, voxels = x.shape[0], x.shape[1], x.shape[2:].numel()
    tile_v, tile_c, tiles, parts = _sizes(channels, voxels)
    groups = triton.cdiv(channels, tile_c)
    means, squares = (x.new_empty((samples, parts, channels), dtype=torch.float32) for _ in range(2))
    mean, inverse = (x.new_empty((samples, channels), dtype=torch.float32) for _ in range(2))
    result = torch.empty_like(x)
    wrap_triton(_statistics)[(parts, samples, groups)](x, means, squares, voxels, channels, tiles, tile_v, tile_c)
    wrap_triton(_combine)[(samples, groups)](
        means, squares, mean, inverse, eps, voxels, channels, parts, tiles * tile_v, tile_v, tile_c
    )
    wrap_triton(_normalize)[(triton.cdiv(voxels, tile_v), samples, groups)](
        x, weight, bias, mean, inverse, result, slope, voxels, channels, tile_v, tile_c
    )
    return result, mean, inverse


@triton_op("nnunet::instance_norm_backward", mutates_args=())
def instance_norm_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, γ and β; `gradient`, of the result, lies in memory as x does."""
    samples, channels, voxels = x.shape[0], x.shape[1], x.shape[2:].numel()
    tile_v, tile_c, tiles, parts = _sizes(channels, voxels)
    groups = triton.cdiv(channels, tile_c)
    partial = x.new_empty((samples, parts, 2, channels), dtype=torch.float32)
    wrap_triton(_gradient_sums)[(parts, samples, groups)](
        x, gradient, weight, bias, mean, inverse, partial, slope, voxels, channels, tiles, tile_v, tile_c
    )
    sums = partial.sum(1)
    result = torch.empty_like(x)
    wrap_triton(_input_gradient)[(triton.cdiv(voxels, tile_v), samples, groups)](
        x, gradient, weight, bias, mean, inverse, sums, result, slope, voxels, channels, tile_v, tile_c
    )
    to_bias, to_weight = sums.sum(0)
    return result, to_weight.clone(), to_bias.clone()


@instance_norm.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> tuple[Tensor, Tensor, Tensor]:
    mean, inverse = (x.new_empty(x.shape[:2], dtype=torch.float32) for _ in range(2))
    return torch.empty_like(x), mean, inverse


@instance_norm_backward.register_fake
def _(gradient: Tensor, x: Tensor, weight: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, bias, _, ctx.slope = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, bias, *output[1:])


def _backward(ctx: Any, gradient: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 5
    layout = channels_last_format(gradient.ndim - 2)
    gradient = gradient.contiguous(memory_format=layout)
    return *instance_norm_backward(gradient, *ctx.saved_tensors, ctx.slope), None, None


instance_norm.register_autograd(_backward, setup_context=_setup)


def _sizes(channels: int, voxels: int) -> tuple[int, int, int, int]:
    """Voxels and channels of a tile, tiles of a part, parts."""
    tile_c = min(WIDEST, triton.next_power_of_2(channels))
    tile_v = TILE // tile_c
    tiles = max(LEAST_TILES, triton.cdiv(voxels, tile_v * PARTS))
    return tile_v, tile_c, tiles, triton.cdiv(voxels, tile_v * tiles)
