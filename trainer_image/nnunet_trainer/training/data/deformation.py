"""What one sample draws for its elastic deformation; `augmentation.transforms.elastic` makes the displacements of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Deformation:
    """The numbers of one sample's deformation, lengths in voxels.

    Attributes:
        sigmas: width of the Gaussian along each axis.
        amplitude: α: what noise between -1 and 1, blurred, is multiplied by. None: see `largest`.
        largest: the largest displacement along each axis. The noise then continues periodically beyond the patch, and the mean
            displacement is 0.
    """

    sigmas: tuple[float, ...]
    amplitude: float | None = None
    largest: tuple[float, ...] = ()


def by_strength(
    rng: np.random.Generator, alpha: tuple[float, float], sigma: tuple[float, float], shape: Sequence[int]
) -> Deformation:
    """nnU-Net v1's older rule: α and σ, drawn uniformly."""
    amplitude, width = rng.uniform(*alpha), rng.uniform(*sigma)
    return Deformation((width,) * len(shape), amplitude=amplitude)


def by_scale(rng: np.random.Generator, scale: tuple[float, float], shape: Sequence[int]) -> Deformation:
    """nnU-Net v1's later rule: σ is a share of each edge; the largest displacement is between an eighth and a half of it."""
    share = rng.uniform(*scale)
    sigmas = tuple(share * edge for edge in shape)
    return Deformation(sigmas, largest=tuple(rng.uniform(sigma / 8, sigma / 2) for sigma in sigmas))
