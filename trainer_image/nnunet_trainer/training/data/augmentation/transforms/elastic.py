"""Elastic deformation: smooth random displacements, made on a grid about as coarse as they are smooth.

White noise that is blurred with a Gaussian of σ is the same random field, to 1e-4 of its variance, when the noise is given at every
σ-th place only: what lies between is in the blurred field already. So the noise is small, and the blur one small matrix an axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_trainer.training.data.deformation import Deformation


@dataclass(frozen=True, slots=True)
class Displacements:
    """What one sample's displacements are made of, with numpy arrays, or tensors where they are made.

    Attributes:
        seed: of the noise.
        blurs: an axis each, (edge, places) float32: from unit noise at so many places to the blurred field at each voxel.
        factor: what that is multiplied by; None: see `largest`.
        largest: the largest displacement along each axis, (axes,) float32; the mean displacement is 0.
    """

    seed: int
    blurs: list[Any]
    factor: float | None
    largest: Any


def displacements(deformation: Deformation, shape: Sequence[int], seed: int) -> Displacements:
    """Of a patch of this shape."""
    periodic = deformation.amplitude is None
    blurs = [_blur(edge, sigma, periodic).astype(np.float32) for edge, sigma in zip(shape, deformation.sigmas, strict=True)]
    # The deviation of noise between -1 and 1 is 1/√3.
    factor = None if deformation.amplitude is None else float(deformation.amplitude / math.sqrt(3))
    return Displacements(seed, blurs, factor, np.array(deformation.largest, np.float32) if periodic else None)


def _blur(edge: int, sigma: float, periodic: bool) -> np.ndarray:
    """(edge, places); the noise is 0 outside, or periodic."""
    places = min(edge, max(4, math.ceil(edge / max(sigma, 1e-6))))
    step = edge / places
    distance = (np.arange(edge) + 0.5)[:, None] - ((np.arange(places) + 0.5) * step)[None]
    turns = (-edge, 0, edge) if periodic else (0,)
    width = max(sigma, 1e-3)
    bell = sum((np.exp(-0.5 * ((distance + turn) / width) ** 2) for turn in turns), np.zeros_like(distance))
    return bell * math.sqrt(step) / (width * math.sqrt(2 * math.pi))
