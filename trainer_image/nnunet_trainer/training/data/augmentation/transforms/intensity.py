"""What changes the image only: each transform draws numbers for a sample, then works on all chosen channels of the batch at once.

`draw` gets a generator of its own for each sample and transform: what one draws never shifts what another draws. `apply` gets the
chosen channels as rows (k, *spatial) and the drawn numbers of each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch

from nnunet_trainer.training.data.parameter_ranges import AboveZero, FromZero, NotNegative, Probability, Share, around_one
from nnunet_trainer.training.data.randomness import SampleKey

from ..interpolation.separable import blur, lower_resolution

EPSILON = 1e-7

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """Whose channels the rows are: sample and channel of each, and whether patches are worked on slice by slice."""

    keys: Sequence[tuple[SampleKey, int]]
    dummy_2d: bool = False

    def of(self, rows: Sequence[int]) -> Context:
        """The context of some of the rows."""
        return Context([self.keys[row] for row in rows] if self.keys else [], self.dummy_2d)


class IntensityTransform(Protocol):
    """A transform of image channels."""

    @property
    def probability(self) -> float:
        """Of a sample."""

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[Any | None]:
        """For each channel of one sample: the transform's numbers, or None where it leaves the channel alone."""

    def apply(self, rows: torch.Tensor, drawn: Sequence[Any], context: Context) -> torch.Tensor:
        """Transform rows (k, *spatial); it may work in place."""


def chosen(rng: np.random.Generator, drawn: Sequence[T], probability: float) -> list[T | None]:
    """Each channel's numbers with this probability, else None."""
    if probability >= 1:
        return list(drawn)
    return [numbers if yes else None for numbers, yes in zip(drawn, rng.random(len(drawn)) < probability, strict=True)]


def column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """A number a row, shaped to broadcast."""
    numbers = torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)
    return numbers.view(-1, *[1] * (like.ndim - 1))


def flat_range(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimum and maximum of each row, shaped to broadcast."""
    shape = (-1, *[1] * (rows.ndim - 1))
    low, high = torch.aminmax(rows.flatten(1), dim=1)
    return low.view(shape), high.view(shape)


def _flat_statistics(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and (unbiased) standard deviation of each row, shaped to broadcast. (`torch.std_mean` is several times slower.)"""
    shape, flat = (-1, *[1] * (rows.ndim - 1)), rows.flatten(1)
    mean = flat.mean(1, keepdim=True)
    deviation = torch.linalg.vector_norm(flat - mean, dim=1) / max(flat.shape[1] - 1, 1) ** 0.5
    return mean.view(shape), deviation.view(shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """Additive Gaussian noise; one standard deviation for all channels of a sample, drawn uniformly."""

    probability: Probability = 0.1
    sigma: FromZero = (0.0, 0.1)

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
    """Gaussian blur, a width in voxels per channel, and per axis as well unless not `per_axis`."""

    probability: Probability = 0.2
    sigma: AboveZero = (0.5, 1.0)
    channel_probability: Probability = 0.5
    per_axis: bool = True

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[np.ndarray | None]:
        taken, widths = rng.random(channels) < self.channel_probability, rng.uniform(*self.sigma, (channels, ndim))
        if not self.per_axis:
            widths[:] = widths[:, :1]
        return [width if yes else None for yes, width in zip(taken, widths, strict=True)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[np.ndarray], context: Context) -> torch.Tensor:
        return blur(rows, drawn)


@dataclass(frozen=True, kw_only=True, slots=True)
class Brightness:
    """Multiplication, a factor per channel: below and above 1 equally often, unless `uniform`."""

    probability: Probability = 0.15
    factor: AboveZero = (0.75, 1.25)
    uniform: bool = False

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return [rng.uniform(*self.factor) if self.uniform else around_one(rng, *self.factor) for _ in range(channels)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        return rows.mul_(column(drawn, rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class AdditiveBrightness:
    """A number that is added, normally distributed about 0, per channel."""

    probability: Probability = 0.15
    sigma: NotNegative = 0.1
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return chosen(rng, rng.normal(0, self.sigma, channels).tolist(), self.channel_probability)

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        return rows.add_(column(drawn, rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """Stretching about the patch's mean, a factor per channel, clipped to the former range unless not `preserve_range`."""

    probability: Probability = 0.15
    factor: AboveZero = (0.75, 1.25)
    preserve_range: bool = True
    channel_probability: Probability = 1.0

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return chosen(rng, [around_one(rng, *self.factor) for _ in range(channels)], self.channel_probability)

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        mean = rows.flatten(1).mean(1).view(-1, *[1] * (rows.ndim - 1))
        low, high = flat_range(rows)
        rows = rows.sub_(mean).mul_(column(drawn, rows)).add_(mean)
        return torch.clamp_(rows, low, high) if self.preserve_range else rows


@dataclass(frozen=True, kw_only=True, slots=True)
class LowResolution:
    """Nearest neighbour down and linear (`order` 1) or cubic (3) up again, one scale per channel for all axes.

    In dummy 2D the first axis is left alone.
    """

    probability: Probability = 0.25
    scale: Share = (0.5, 1.0)
    channel_probability: Probability = 0.5
    order: Literal[1, 3] = 1

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        taken, scales = rng.random(channels) < self.channel_probability, rng.uniform(*self.scale, channels)
        return [float(scale) if yes else None for yes, scale in zip(taken, scales, strict=True)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        for row, scale in zip(rows.split(1), drawn, strict=True):
            reduced: list[int | None] = [max(1, round(size * scale)) for size in row.shape[1:]]
            if context.dummy_2d:
                reduced[0] = None
            row.copy_(lower_resolution(row, reduced, self.order))
        return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Gamma:
    """x ↦ x^γ on the range scaled to [0, 1], γ per channel; mean and standard deviation are restored. `invert`: on the negative."""

    probability: Probability = 0.3
    gamma: AboveZero = (0.7, 1.5)
    invert: bool = False
    retain_statistics: bool = True

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return [around_one(rng, *self.gamma) for _ in range(channels)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[float], context: Context) -> torch.Tensor:
        if self.invert:
            rows = rows.neg_()
        mean, deviation = _flat_statistics(rows) if self.retain_statistics else (None, None)
        low, high = flat_range(rows)
        extent = high - low
        # The negative can be a hair below 0 by rounding; a fraction's power of it would be NaN.
        rows = rows.sub_(low).div_(extent.clamp(min=EPSILON)).clamp_(min=0).pow_(column(drawn, rows)).mul_(extent).add_(low)
        if mean is not None and deviation is not None:
            mean_now, deviation_now = _flat_statistics(rows)
            rows = rows.sub_(mean_now).mul_(deviation / deviation_now.clamp(min=EPSILON)).add_(mean)
        return rows.neg_() if self.invert else rows


@dataclass(frozen=True, slots=True)
class OneOf:
    """One transform of several, each picked equally often; its own probability then says whether it is done."""

    options: tuple[IntensityTransform, ...]

    @property
    def probability(self) -> float:
        """Each option has its own."""
        return 1.0

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[tuple[int, Any] | None]:
        picked = int(rng.integers(len(self.options)))
        if rng.random() >= self.options[picked].probability:
            return [None] * channels
        return [None if numbers is None else (picked, numbers) for numbers in self.options[picked].draw(rng, channels, ndim)]

    def apply(self, rows: torch.Tensor, drawn: Sequence[tuple[int, Any]], context: Context) -> torch.Tensor:
        for number, option in enumerate(self.options):
            some = [row for row, (picked, _) in enumerate(drawn) if picked == number]
            if some:
                numbers, index = [drawn[row][1] for row in some], torch.tensor(some, device=rows.device)
                rows[index] = option.apply(rows[index], numbers, context.of(some))
        return rows
