"""Median filter and sharpening."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..transforms.filters import Median, Sharpening
from .intensity import apply, column

WINDOW_VALUES = 2**24
"""Values of windows that are held at once."""


@apply.register
def _(transform: Median, rows: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
    for row, size in zip(rows, numbers, strict=True):
        row.copy_(median(row, size))
    return rows


def median(image: torch.Tensor, size: int) -> torch.Tensor:
    """`scipy.ndimage.median_filter`: borders are mirrored, of an even number of values the upper middle one is taken."""
    padded = image
    for axis, edge in enumerate(image.shape):
        places = torch.arange(-(size // 2), edge + size - 1 - size // 2, device=image.device) % (2 * edge)
        padded = padded.index_select(axis, torch.where(places >= edge, 2 * edge - 1 - places, places))
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


@apply.register
def _(transform: Sharpening, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    before, strength = rows.clone(), column(numbers, rows)
    for axis in range(1, rows.ndim):
        # Each pair of neighbours is driven apart; beyond the border lies the border's own value.
        steps, count = before.diff(dim=axis).mul_(strength), rows.shape[axis] - 1
        rows.narrow(axis, 0, count).sub_(steps)
        rows.narrow(axis, 1, count).add_(steps)
    return rows
