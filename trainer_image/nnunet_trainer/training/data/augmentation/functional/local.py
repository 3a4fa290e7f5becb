"""Rectangles, and Gaussian bumps within which brightness or gamma differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..transforms.local import BlankRectangles, BrightnessGradient, LocalGamma
from .intensity import apply, column, flat_range, power_

THINNEST = 1e-8


@apply.register
def _(transform: BlankRectangles, rows: torch.Tensor, numbers: Sequence[Sequence[tuple[slice, ...]]]) -> torch.Tensor:
    for row, boxes in zip(rows, numbers, strict=True):
        for place in boxes:
            box = row[place]
            box.copy_(box.mean())
    return rows


def _spread(profiles: Sequence[torch.Tensor], like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The bumps (without what is subtracted) as a product of two factors: all axes but the last, and the last."""
    first = profiles[0]
    for profile in profiles[1:-1]:
        first = first[..., None] * profile[:, None]
    return first[..., None], profiles[-1].view(-1, *[1] * (like.ndim - 2), like.shape[-1])


@apply.register
def _(transform: BrightnessGradient, rows: torch.Tensor, numbers: tuple[list[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    profiles, lowest = numbers
    first, last = _spread(profiles, rows)
    return rows.addcmul_(first, last).sub_(column(lowest, rows))


@apply.register
def _(transform: LocalGamma, rows: torch.Tensor, numbers: tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]) -> torch.Tensor:
    profiles, lowest, gamma = numbers
    first, last = _spread(profiles, rows)
    weight = (first * last).sub_(column(lowest, rows)).clamp_(min=0)
    low, high = (column(bound, rows) for bound in flat_range(rows))
    extent = (high - low).clamp_(min=THINNEST)
    rows = rows.sub_(low).div_(extent)
    powered = power_(rows.clone(), column(gamma, rows))
    return rows.lerp_(powered, weight).mul_(extent).add_(low)
