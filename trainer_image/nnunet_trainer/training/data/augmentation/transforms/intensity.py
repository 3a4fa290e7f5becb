"""What changes the image only: each transform draws numbers for a sample; `functional` then works on all chosen channels at once.

`draw` gets a generator of its own for each sample and transform: what one draws never shifts what another draws. `numbers` makes of
the drawn numbers of some channels, one row each, all that work on them needs: arrays, which go to the device with those of the
whole batch at once, and Python numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from nnunet_trainer.training.data.parameter_ranges import AboveZero, FromZero, NotNegative, Probability, Share, around_one
from nnunet_trainer.training.data.randomness import SampleKey

from . import separable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """Whose channels the rows are: sample and channel of each; the patch's size, and whether it is worked on slice by slice."""

    keys: Sequence[tuple[SampleKey, int]]
    shape: tuple[int, ...]
    dummy_2d: bool = False

    def of(self, rows: Sequence[int]) -> Context:
        """The context of some of the rows."""
        return Context([self.keys[row] for row in rows] if self.keys else [], self.shape, self.dummy_2d)


class IntensityTransform(Protocol):
    """A transform of image channels."""

    @property
    def probability(self) -> float:
        """Of a sample."""

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[Any | None]:
        """For each channel of one sample: the transform's numbers, or None where it leaves the channel alone."""

    def numbers(self, drawn: Sequence[Any], context: Context) -> Any:
        """What `functional.apply` gets of the rows that were drawn for: numpy arrays, numbers, lists and tuples of them."""


def chosen(rng: np.random.Generator, drawn: Sequence[T], probability: float) -> list[T | None]:
    """Each channel's numbers with this probability, else None."""
    if probability >= 1:
        return list(drawn)
    return [numbers if yes else None for numbers, yes in zip(drawn, rng.random(len(drawn)) < probability, strict=True)]


def column(values: Sequence[float]) -> np.ndarray:
    """A number a row, (k,) float32."""
    return np.array(values, np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """Additive Gaussian noise; one standard deviation for all channels of a sample, drawn uniformly."""

    probability: Probability = 0.1
    sigma: FromZero = (0.0, 0.1)

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return [rng.uniform(*self.sigma)] * channels

    def numbers(self, drawn: Sequence[float], context: Context) -> list[tuple[int, float]]:
        # A field of its own per row: what one sample gets does not depend on its neighbours in the batch.
        seeds = [key.torch_seed(f"noise/{channel}") for key, channel in context.keys]
        return list(zip(seeds, map(float, drawn), strict=True))


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

    def numbers(self, drawn: Sequence[np.ndarray], context: Context) -> list[np.ndarray]:
        return separable.blur_weights(drawn)


@dataclass(frozen=True, kw_only=True, slots=True)
class Brightness:
    """Multiplication, a factor per channel: below and above 1 equally often, unless `uniform`."""

    probability: Probability = 0.15
    factor: AboveZero = (0.75, 1.25)
    uniform: bool = False

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return [rng.uniform(*self.factor) if self.uniform else around_one(rng, *self.factor) for _ in range(channels)]

    def numbers(self, drawn: Sequence[float], context: Context) -> np.ndarray:
        return column(drawn)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdditiveBrightness:
    """A number that is added, normally distributed about 0, per channel."""

    probability: Probability = 0.15
    sigma: NotNegative = 0.1
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return chosen(rng, rng.normal(0, self.sigma, channels).tolist(), self.channel_probability)

    def numbers(self, drawn: Sequence[float], context: Context) -> np.ndarray:
        return column(drawn)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """Stretching about the patch's mean, a factor per channel, clipped to the former range unless not `preserve_range`."""

    probability: Probability = 0.15
    factor: AboveZero = (0.75, 1.25)
    preserve_range: bool = True
    channel_probability: Probability = 1.0

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return chosen(rng, [around_one(rng, *self.factor) for _ in range(channels)], self.channel_probability)

    def numbers(self, drawn: Sequence[float], context: Context) -> np.ndarray:
        return column(drawn)


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

    def numbers(self, drawn: Sequence[float], context: Context) -> list[Any]:
        reduced: list[list[int | None]] = [[max(1, round(size * scale)) for size in context.shape] for scale in drawn]
        if context.dummy_2d:
            for counts in reduced:
                counts[0] = None
        make = separable.down_and_up_cubic if self.order == 3 else separable.down_and_up
        return make(context.shape, reduced)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gamma:
    """x ↦ x^γ on the range scaled to [0, 1], γ per channel; mean and standard deviation are restored. `invert`: on the negative."""

    probability: Probability = 0.3
    gamma: AboveZero = (0.7, 1.5)
    invert: bool = False
    retain_statistics: bool = True

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return [around_one(rng, *self.gamma) for _ in range(channels)]

    def numbers(self, drawn: Sequence[float], context: Context) -> np.ndarray:
        return column(drawn)


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

    def numbers(self, drawn: Sequence[tuple[int, Any]], context: Context) -> list[tuple[int, np.ndarray, Any]]:
        """Of each option that some rows picked: its number, these rows, its own numbers."""
        found = []
        for number, option in enumerate(self.options):
            some = [row for row, (picked, _) in enumerate(drawn) if picked == number]
            if some:
                found.append((number, np.array(some), option.numbers([drawn[row][1] for row in some], context.of(some))))
        return found
