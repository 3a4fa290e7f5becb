"""What changes the image only: each transform draws numbers for a sample, then works on all chosen channels of the batch at once.

`draw` gets a generator of its own for each sample and transform: what one draws never shifts what another draws. `apply` gets the
chosen channels as rows (k, *spatial) and the drawn numbers of each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from nnunet_trainer.training.randomness import SampleKey

from .separable import blur, lower_resolution

EPSILON = 1e-7


@dataclass(frozen=True, slots=True)
class Context:
    """Whose channels the rows are: sample and channel of each, and whether patches are worked on slice by slice."""

    keys: Sequence[tuple[SampleKey, int]]
    dummy_2d: bool = False


class IntensityTransform(Protocol):
    """A transform of image channels."""

    probability: float

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[Any | None]:
        """For each channel of one sample: the transform's numbers, or None where it leaves the channel alone."""

    def apply(self, rows: torch.Tensor, drawn: Sequence[Any], context: Context) -> torch.Tensor:
        """Transform rows (k, *spatial); it may work in place."""


def around_one(rng: np.random.Generator, low: float, high: float) -> float:
    """Below and above 1 with equal probability, uniform on each side."""
    if rng.random() < 0.5 and low < 1:
        return rng.uniform(low, 1)
    return rng.uniform(max(low, 1), high)


def _column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    column = torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)
    return column.view(-1, *[1] * (like.ndim - 1))


def _flat_statistics(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and (unbiased) standard deviation of each row, shaped to broadcast. (`torch.std_mean` is several times slower.)"""
    shape, flat = (-1, *[1] * (rows.ndim - 1)), rows.flatten(1)
    mean = flat.mean(1, keepdim=True)
    deviation = torch.linalg.vector_norm(flat - mean, dim=1) / max(flat.shape[1] - 1, 1) ** 0.5
    return mean.view(shape), deviation.view(shape)


def _flat_range(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (-1, *[1] * (rows.ndim - 1))
    low, high = torch.aminmax(rows.flatten(1), dim=1)
    return low.view(shape), high.view(shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """Additive Gaussian noise; one standard deviation for all channels of a sample, drawn uniformly."""

    probability: float
    sigma: tuple[float, float] = (0.0, 0.1)

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return [rng.uniform(*self.sigma)] * channels

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        for row, sigma, (key, channel) in zip(rows, drawn, context.keys, strict=True):
            # A field of its own per row: what one sample gets does not depend on its neighbours in the batch.
            field = torch.empty_like(row).normal_(generator=key.torch_generator(f"noise/{channel}", row.device))
            row.add_(field, alpha=sigma)
        return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Blur:
    """Gaussian blur, a width per channel and axis, in voxels."""

    probability: float
    sigma: tuple[float, float] = (0.5, 1.0)
    channel_probability: float = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[np.ndarray | None]:
        chosen, widths = rng.random(channels) < self.channel_probability, rng.uniform(*self.sigma, (channels, ndim))
        return [width if yes else None for yes, width in zip(chosen, widths, strict=True)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[np.ndarray], context: Context) -> torch.Tensor:
        return blur(rows, drawn)


@dataclass(frozen=True, kw_only=True, slots=True)
class Brightness:
    """Multiplication, a factor per channel."""

    probability: float
    factor: tuple[float, float] = (0.75, 1.25)

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return [around_one(rng, *self.factor) for _ in range(channels)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        return rows.mul_(_column(drawn, rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """Stretching about the patch's mean, a factor per channel, clipped to the former range."""

    probability: float
    factor: tuple[float, float] = (0.75, 1.25)
    preserve_range: bool = True

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return [around_one(rng, *self.factor) for _ in range(channels)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        mean = rows.flatten(1).mean(1).view(-1, *[1] * (rows.ndim - 1))
        low, high = _flat_range(rows)
        rows = rows.sub_(mean).mul_(_column(drawn, rows)).add_(mean)
        return torch.clamp_(rows, low, high) if self.preserve_range else rows


@dataclass(frozen=True, kw_only=True, slots=True)
class LowResolution:
    """Nearest neighbour down and linear up again, one scale per channel for all axes (not the first in dummy 2D)."""

    probability: float
    scale: tuple[float, float] = (0.5, 1.0)
    channel_probability: float = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        chosen, scales = rng.random(channels) < self.channel_probability, rng.uniform(*self.scale, channels)
        return [float(scale) if yes else None for yes, scale in zip(chosen, scales, strict=True)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        for row, scale in zip(rows.split(1), drawn, strict=True):
            reduced: list[int | None] = [max(1, round(size * scale)) for size in row.shape[1:]]
            if context.dummy_2d:
                reduced[0] = None
            row.copy_(lower_resolution(row, reduced))
        return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Gamma:
    """x ↦ x^γ on the range scaled to [0, 1], γ per channel; mean and standard deviation are restored. `invert`: on the negative."""

    probability: float
    gamma: tuple[float, float] = (0.7, 1.5)
    invert: bool = False
    retain_statistics: bool = True

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return [around_one(rng, *self.gamma) for _ in range(channels)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        if self.invert:
            rows = rows.neg_()
        mean, deviation = _flat_statistics(rows) if self.retain_statistics else (None, None)
        low, high = _flat_range(rows)
        extent = high - low
        # The negative can be a hair below 0 by rounding; a fraction's power of it would be NaN.
        rows = rows.sub_(low).div_(extent.clamp(min=EPSILON)).clamp_(min=0).pow_(_column(drawn, rows)).mul_(extent).add_(low)
        if mean is not None and deviation is not None:
            mean_now, deviation_now = _flat_statistics(rows)
            rows = rows.sub_(mean_now).mul_(deviation / deviation_now.clamp(min=EPSILON)).add_(mean)
        return rows.neg_() if self.invert else rows
