"""What changes a part of the image: rectangles, and Gaussian bumps within which brightness or gamma differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from nnunet_trainer.extensions import Range
from nnunet_trainer.training.data.parameter_ranges import AboveZero, Anywhere, FromZero, Probability, Share

from .intensity import Context, chosen, column


@dataclass(frozen=True, kw_only=True, slots=True)
class BlankRectangles:
    """A few boxes per channel, one after the other filled with the mean of what they hold.

    An edge is drawn from a tenth (at least a voxel) of the patch's edge up to one voxel less than a third of it.
    """

    probability: Probability = 0.4
    count: Annotated[tuple[int, int], Range(1, 100)] = (1, 4)
    size: Share = (1 / 10, 1 / 3)
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[np.ndarray | None]:
        # (count, 2, ndim): what each edge's length and place are drawn with.
        counts = rng.integers(*self.count, channels, endpoint=True)
        return chosen(rng, [rng.random((count, 2, ndim)) for count in counts], self.channel_probability)

    def numbers(self, drawn: Sequence[np.ndarray], context: Context) -> list[list[tuple[slice, ...]]]:
        """The boxes of each row, one after the other."""
        edges = np.array(context.shape)
        # The tiny summand: a third of 3n is n, not a hair less.
        least = np.maximum(1, (edges * self.size[0] + 1e-9).astype(int))
        lengths = np.maximum(1, (edges * self.size[1] + 1e-9).astype(int) - least)
        found = []
        for boxes in drawn:
            row = []
            for length, place in boxes:
                extent = least + (length * lengths).astype(int)
                begin = (place * (edges - extent + 1)).astype(int)
                row.append(tuple(slice(int(b), int(b + n)) for b, n in zip(begin, extent, strict=True)))
            found.append(row)
        return found


@dataclass(frozen=True, slots=True)
class Bump:
    """A Gaussian's centre (share of each edge), where its width lies between the narrowest and the widest, and its strength."""

    centre: np.ndarray
    width: np.ndarray
    strength: float


def _draw_bump(rng: np.random.Generator, centre: tuple[float, float], ndim: int, strength: float) -> Bump:
    return Bump(rng.uniform(*centre, ndim), rng.random(ndim), strength)


def profiles(bumps: Sequence[Bump], scale: tuple[float, float], shape: Sequence[int]) -> tuple[list[np.ndarray], np.ndarray]:
    """A row's bump is the product of a profile along each axis: of each voxel the integral of the Gaussian over it.

    Args:
        bumps: k.
        scale: narrowest and widest standard deviation, as a share of the edge; widths are log-uniform between them.
        shape: of the patch.

    Returns:
        Profiles (k, edge) an axis, scaled so that the bump's highest value is 1 more than its lowest, and what to subtract (k,).
        A bump that is flat is 0.
    """
    from scipy.special import ndtr

    found = []
    for axis, edge in enumerate(shape):
        low, high = (max(1, int(edge * share + 1e-9)) for share in scale)
        width = np.array([low * (high / low) ** bump.width[axis] for bump in bumps])
        places = np.arange(edge + 1) - 0.5 - np.array([bump.centre[axis] * edge for bump in bumps])[:, None]
        found.append(np.diff(ndtr(places / width[:, None]), axis=1))
    lowest, highest = (math.prod(extreme(profile, axis=1) for profile in found) for extreme in (np.min, np.max))
    extent = highest - lowest
    factor = np.where(extent > 0, 1 / np.where(extent > 0, extent, 1), 0)
    found[0] *= factor[:, None]
    return found, lowest * factor


def _single(found: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [profile.astype(np.float32) for profile in found]


@dataclass(frozen=True, kw_only=True, slots=True)
class BrightnessGradient:
    """Adds a Gaussian bump per channel, its height positive or negative equally often."""

    probability: Probability = 0.3
    scale: Share = (1 / 6, 1.0)
    """The Gaussian's standard deviation along each axis, as a share of the patch's edge; log-uniform."""
    centre: Anywhere = (-0.5, 1.5)
    """Along each axis, as a share of the patch's edge."""
    strength: FromZero = (1.0, 5.0)
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[Bump | None]:
        signs = np.where(rng.random(channels) < 0.5, -1, 1)
        bumps = [_draw_bump(rng, self.centre, ndim, float(sign * rng.uniform(*self.strength))) for sign in signs]
        return chosen(rng, bumps, self.channel_probability)

    def numbers(self, drawn: Sequence[Bump], context: Context) -> tuple[list[np.ndarray], np.ndarray]:
        """The bumps' profiles along each axis with their height, and what to subtract."""
        found, lowest = profiles(drawn, self.scale, context.shape)
        strength = np.array([bump.strength for bump in drawn])
        found[0] *= strength[:, None]
        return _single(found), column((lowest * strength).tolist())


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalGamma:
    """x ↦ x^γ on the range scaled to [0, 1], blended in by a Gaussian bump per channel."""

    probability: Probability = 0.3
    scale: Share = (1 / 6, 1.0)
    """As of `BrightnessGradient`."""
    centre: Anywhere = (-0.5, 1.5)
    low_gamma: AboveZero = (0.01, 0.8)
    high_gamma: AboveZero = (1.5, 4.0)
    """γ is drawn from the one or the other, equally often."""
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, channels: int, ndim: int) -> list[Bump | None]:
        ranges = [self.low_gamma if low else self.high_gamma for low in rng.random(channels) < 0.5]
        bumps = [_draw_bump(rng, self.centre, ndim, rng.uniform(*gamma)) for gamma in ranges]
        return chosen(rng, bumps, self.channel_probability)

    def numbers(self, drawn: Sequence[Bump], context: Context) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """The bumps' profiles along each axis, what to subtract, and γ."""
        found, lowest = profiles(drawn, self.scale, context.shape)
        return _single(found), column(lowest.tolist()), column([bump.strength for bump in drawn])
