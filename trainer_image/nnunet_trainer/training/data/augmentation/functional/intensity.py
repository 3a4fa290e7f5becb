"""The intensity transforms on tensors: `apply` finds the function by the transform's type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import torch

from ..transforms.intensity import AdditiveBrightness, Blur, Brightness, Contrast, Gamma, LowResolution, Noise, OneOf
from . import separable

EPSILON = 1e-7


@singledispatch
def apply(transform: Any, rows: torch.Tensor, numbers: Any) -> torch.Tensor:
    """Transform rows (k, *spatial), chosen channels of a batch; it may work in place.

    Args:
        transform: what they were drawn for.
        rows: float32.
        numbers: what its `numbers` made, with tensors on the rows' device for arrays.
    """
    raise TypeError(f"There is no function for {type(transform).__name__}.")


def column(numbers: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A number a row, shaped to broadcast."""
    return numbers.view(-1, *[1] * (like.ndim - 1))


def flat_range(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimum and maximum of each row, shaped to broadcast."""
    low, high = torch.aminmax(rows.flatten(1), dim=1)
    return column(low, rows), column(high, rows)


def _flat_statistics(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and (unbiased) standard deviation of each row, shaped to broadcast. (`torch.std_mean` is several times slower.)"""
    flat = rows.flatten(1)
    mean = flat.mean(1, keepdim=True)
    deviation = torch.linalg.vector_norm(flat - mean, dim=1) / max(flat.shape[1] - 1, 1) ** 0.5
    return column(mean, rows), column(deviation, rows)


@apply.register
def _(transform: Noise, rows: torch.Tensor, numbers: Sequence[tuple[int, float]]) -> torch.Tensor:
    for row, (seed, sigma) in zip(rows, numbers, strict=True):
        field = torch.empty_like(row).normal_(generator=generator(seed, row.device))
        row.add_(field, alpha=sigma)
    return rows


def generator(seed: int, device: torch.device) -> torch.Generator:
    """Of a random field that is made on the device. Two device types give different numbers for one seed."""
    return torch.Generator(device).manual_seed(seed)


@apply.register
def _(transform: Blur, rows: torch.Tensor, numbers: Sequence[torch.Tensor]) -> torch.Tensor:
    return separable.blur(rows, numbers)


@apply.register
def _(transform: Brightness, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    return rows.mul_(column(numbers, rows))


@apply.register
def _(transform: AdditiveBrightness, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    return rows.add_(column(numbers, rows))


@apply.register
def _(transform: Contrast, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    mean = column(rows.flatten(1).mean(1), rows)
    low, high = flat_range(rows)
    rows = rows.sub_(mean).mul_(column(numbers, rows)).add_(mean)
    return torch.clamp_(rows, low, high) if transform.preserve_range else rows


@apply.register
def _(transform: LowResolution, rows: torch.Tensor, numbers: Any) -> torch.Tensor:
    if transform.order == 1:
        return separable.lower_resolution(rows, numbers)
    return torch.stack([separable.lower_resolution_cubic(row, each) for row, each in zip(rows, numbers, strict=True)])


@apply.register
def _(transform: Gamma, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    if transform.invert:
        rows = rows.neg_()
    mean, deviation = _flat_statistics(rows) if transform.retain_statistics else (None, None)
    low, high = flat_range(rows)
    extent = high - low
    # The negative can be a hair below 0 by rounding; a fraction's power of it would be NaN.
    rows = rows.sub_(low).div_(extent.clamp(min=EPSILON)).clamp_(min=0).pow_(column(numbers, rows)).mul_(extent).add_(low)
    if mean is not None and deviation is not None:
        mean_now, deviation_now = _flat_statistics(rows)
        rows = rows.sub_(mean_now).mul_(deviation / deviation_now.clamp(min=EPSILON)).add_(mean)
    return rows.neg_() if transform.invert else rows


@apply.register
def _(transform: OneOf, rows: torch.Tensor, numbers: Sequence[tuple[int, torch.Tensor, Any]]) -> torch.Tensor:
    for option, some, own in numbers:
        rows.index_copy_(0, some, apply(transform.options[option], rows.index_select(0, some), own))
    return rows
