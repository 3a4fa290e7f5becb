"""Median filter and sharpening."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch

from nnunet_trainer.extensions import Range
from nnunet_trainer.training.data.parameter_ranges import AboveZero, Probability

from .intensity import Context, chosen, column

WINDOW_VALUES = 2**24
"""Values of windows that are held at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Median:
    """The median of a cube (a square in 2D) about each voxel, its edge per channel, in voxels."""

    probability: Probability = 0.2
    size: Annotated[tuple[int, int], Range(1, 15)] = (2, 7)
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[int | None]:
        return chosen(rng, rng.integers(*self.size, channels, endpoint=True).tolist(), self.channel_probability)

    def apply(self, rows: torch.Tensor, drawn: Sequence[int], context: Context) -> torch.Tensor:
        for row, size in zip(rows, drawn, strict=True):
            row.copy_(median(row, size))
        return rows


def median(image: torch.Tensor, size: int) -> torch.Tensor:
    """`scipy.ndimage.median_filter`: borders are mirrored, of an even number of values the upper middle one is taken."""
    padded = image
    for axis, edge in enumerate(image.shape):
        places = np.arange(-(size // 2), edge + size - 1 - size // 2) % (2 * edge)
        index = torch.from_numpy(np.where(places >= edge, 2 * edge - 1 - places, places))
        padded = padded.index_select(axis, index.to(image.device, non_blocking=True))
    per_slice = size**image.ndim * math.prod(image.shape[1:])
    some = max(1, WINDOW_VALUES // per_slice)
    slabs = [padded[begin : begin + some + size - 1] for begin in range(0, len(image), some)]
    return torch.cat([_slab(slab, size) for slab in slabs])


def _slab(padded: torch.Tensor, size: int) -> torch.Tensor:
    """The medians of a padded image's windows."""
    cells = padded.unsqueeze(-1)
    for axis in reversed(range(padded.ndim)):
        # With this axis next to the values gathered so far, each window's values lie in one piece and are copied as such.
        cells = cells.movedim(axis, -2).contiguous().unfold(-2, size, 1).transpose(-2, -1).flatten(-2)
        cells = cells.movedim(-2, axis) if axis else cells
    # A copy, since until now windows share their values.
    rows = torch.empty(cells.shape, dtype=cells.dtype, device=cells.device).copy_(cells)
    return _upper_middle(rows.flatten(0, -2)).view(cells.shape[:-1]).movedim(-1, 0)


def _upper_middle(values: torch.Tensor) -> torch.Tensor:
    """Of each row of (m, n), element n // 2 of its order; the rows are disarranged."""
    middle = values.shape[1] // 2
    if values.device.type == "cpu":
        values.numpy().partition(middle, axis=1)  # several times faster than torch's
        return values[:, middle]
    return values.kthvalue(middle + 1, dim=1).values


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharpening:
    """Adds the (negative) Laplacian, with a strength per channel."""

    probability: Probability = 0.2
    strength: AboveZero = (0.1, 1.0)
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return chosen(rng, rng.uniform(*self.strength, channels).tolist(), self.channel_probability)

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        before, strength = rows.clone(), column(drawn, rows)
        for axis in range(1, rows.ndim):
            # Each pair of neighbours is driven apart; beyond the border lies the border's own value.
            steps, count = before.diff(dim=axis).mul_(strength), rows.shape[axis] - 1
            rows.narrow(axis, 0, count).sub_(steps)
            rows.narrow(axis, 1, count).add_(steps)
        return rows
