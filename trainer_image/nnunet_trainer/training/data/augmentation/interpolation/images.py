"""Sampling of images between voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import grid_sample

from .cubic import sample_cubic, spline_coefficients
from .sampling_grid import MARGIN, SamplingGrid

Sampler = Callable[[SamplingGrid], torch.Tensor]
"""From places in each of n volumes to what lies there: (n, channels, *places)."""


def image_sampler(x: torch.Tensor, order: int) -> Sampler:
    """Nearest (0), linear (1) or cubic (3) sampling of (n, c, *initial); 0 outside."""
    if order == 3:
        coefficients = spline_coefficients(x)
        return lambda where: sample_cubic(coefficients, [c - MARGIN for c in where.coordinates])
    if order == 1 and x.ndim == 5 and x.device.type == "cpu":
        flat = flat_channels(x, 0)
        return lambda where: _gather_linear(flat, where)
    return lambda where: _grid_sample(x, where, order)


def flat_channels(x: torch.Tensor, value: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Volumes (n, c, *size) padded by `MARGIN` voxels of a value: for each channel one after the other, (c, n · voxels)."""
    padded = x.new_full((x.shape[1], len(x), *(edge + 2 * MARGIN for edge in x.shape[2:])), value, dtype=dtype)
    inner = padded
    for axis, edge in enumerate(x.shape[2:], start=2):
        inner = inner.narrow(axis, MARGIN, edge)
    inner.copy_(x.transpose(0, 1))
    return padded.flatten(1)


def _grid_sample(x: torch.Tensor, where: SamplingGrid, order: int) -> torch.Tensor:
    # grid_sample counts from -1 to 1, from edge to edge, the last axis first.
    grid = x.new_empty(len(where.coordinates), *where.coordinates[0].shape)
    first = torch.tensor(1.0 - 2 * MARGIN)
    for scaled, coordinate, size in zip(grid.unbind(), where.coordinates[::-1], x.shape[:1:-1], strict=True):
        torch.add(first, coordinate, alpha=2, out=scaled).div_(size)
    grid = grid.sub_(1).movedim(0, -1)  # written, and read, in whole pieces
    return grid_sample(x, grid, mode="bilinear" if order else "nearest", padding_mode="zeros", align_corners=False)


def _gather_linear(flat: torch.Tensor, where: SamplingGrid) -> torch.Tensor:
    """As `_grid_sample` with order 1, in 3D on a CPU, where torch's takes several times as long."""
    fractions = [c.frac().flatten() for c in where.coordinates]
    return as_channels([_between(channel, where.corner, where.strides, fractions) for channel in flat], where)


def as_channels(found: Sequence[torch.Tensor], where: SamplingGrid) -> torch.Tensor:
    """What lies at all places, of each channel (n · places,): (n, channels, *places)."""
    shaped = [each.view(where.coordinates[0].shape) for each in found]
    return shaped[0].unsqueeze(1) if len(shaped) == 1 else torch.stack(shaped, dim=1)


def _between(flat: torch.Tensor, corner: torch.Tensor, strides: Sequence[int], fractions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Linear interpolation, one axis within the other: few values are held at once."""
    if not strides:
        return flat.index_select(0, corner)
    low = _between(flat, corner, strides[1:], fractions[1:])
    return low.lerp_(_between(flat[strides[0] :], corner, strides[1:], fractions[1:]), fractions[0])
