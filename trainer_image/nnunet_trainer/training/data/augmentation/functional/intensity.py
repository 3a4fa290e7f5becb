"""The intensity transforms on tensors: `apply` finds the function by the transform's type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import torch

from ..transforms.intensity import AdditiveBrightness, Blur, Brightness, Contrast, Gamma, LowResolution, Noise, OneOf
from . import separable
from .parts import pieces, put, take

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
    """Minimum and maximum of each row, (k, 1). (`torch.aminmax` along an axis is several times slower.)"""
    flat = rows.flatten(1)
    return flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)


def power_(base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """A power of numbers that are not negative, in place; a CPU counts it by logarithms in a sixth of the time of `pow`."""
    return base.log_().mul_(exponent).exp_() if base.device.type == "cpu" else base.pow_(exponent)


def clamp_rows(rows: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> None:
    """Clamp rows (k, m) in place, each between limits of its own, (k, 1)."""
    if rows.device.type == "cpu":  # takes a tenth of the time of limits that are broadcast
        for row, lowest, highest in zip(rows.unbind(), low[:, 0].tolist(), high[:, 0].tolist(), strict=True):
            row.clamp_(lowest, highest)
    else:
        rows.clamp_(low, high)


def _flat_statistics(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and (unbiased) standard deviation of each row, (k, 1). (`torch.std_mean` is several times slower.)"""
    flat = rows.flatten(1)
    mean = flat.mean(1, keepdim=True)
    lengths = [torch.linalg.vector_norm(piece - mean, dim=1, keepdim=True) for piece in pieces(rows)]
    length = lengths[0] if len(lengths) == 1 else torch.linalg.vector_norm(torch.cat(lengths, dim=1), dim=1, keepdim=True)
    return mean, length / max(flat.shape[1] - 1, 1) ** 0.5


@apply.register
def _(transform: Noise, rows: torch.Tensor, numbers: Sequence[tuple[int, float]]) -> torch.Tensor:
    for row, (seed, sigma) in zip(rows.unbind(), numbers, strict=True):
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
    mean = rows.flatten(1).mean(1, keepdim=True)
    low, high = flat_range(rows)
    for piece in pieces(rows):
        piece.sub_(mean).mul_(numbers[:, None]).add_(mean)
        if transform.preserve_range:
            clamp_rows(piece, low, high)
    return rows


@apply.register
def _(transform: LowResolution, rows: torch.Tensor, numbers: Any) -> torch.Tensor:
    if transform.order == 1:
        return separable.lower_resolution(rows, numbers)
    return torch.stack([separable.lower_resolution_cubic(row, each) for row, each in zip(rows, numbers, strict=True)])


@apply.register
def _(transform: Gamma, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    low, high = flat_range(rows)
    # Inverted, 0 is the highest value and 1 the lowest.
    origin, sign, extent = (high, -1, high - low) if transform.invert else (low, 1, high - low)
    divisor = extent.clamp(min=EPSILON).mul_(sign)
    mean, deviation = _flat_statistics(rows) if transform.retain_statistics else (None, None)
    for piece in pieces(rows):
        # Neither difference nor quotient is below 0, where a fraction's power would be NaN.
        power_(piece.sub_(origin).div_(divisor), numbers[:, None])
    if mean is not None and deviation is not None:
        mean_now, deviation_now = _flat_statistics(rows)
        factor = deviation.mul_(extent).div_((extent * deviation_now).clamp_(min=EPSILON)).mul_(sign)
        for piece in pieces(rows):
            piece.sub_(mean_now).mul_(factor).add_(mean)
    else:
        for piece in pieces(rows):
            piece.mul_(sign * extent).add_(origin)
    return rows


@apply.register
def _(transform: OneOf, rows: torch.Tensor, numbers: Sequence[tuple[int, torch.Tensor, Any]]) -> torch.Tensor:
    for option, some, own in numbers:
        put(rows, some, apply(transform.options[option], take(rows, some), own))
    return rows
