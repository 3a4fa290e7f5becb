"""Median filter and sharpening."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from nnunet_trainer.extensions import Range
from nnunet_trainer.training.data.parameter_ranges import AboveZero, Probability

from .intensity import Context, chosen, column


@dataclass(frozen=True, kw_only=True, slots=True)
class Median:
    """The median of a cube (a square in 2D) about each voxel, its edge per channel, in voxels."""

    probability: Probability = 0.2
    size: Annotated[tuple[int, int], Range(1, 15)] = (2, 7)
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[int | None]:
        return chosen(rng, rng.integers(*self.size, channels, endpoint=True).tolist(), self.channel_probability)

    def numbers(self, drawn: Sequence[int], context: Context) -> list[int]:
        return list(drawn)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharpening:
    """Adds the (negative) Laplacian, with a strength per channel."""

    probability: Probability = 0.2
    strength: AboveZero = (0.1, 1.0)
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[float | None]:
        return chosen(rng, rng.uniform(*self.strength, channels).tolist(), self.channel_probability)

    def numbers(self, drawn: Sequence[float], context: Context) -> np.ndarray:
        return column(drawn)
