"""Elastic deformation: smooth random displacements, made on a grid about as coarse as they are smooth.

White noise that is blurred with a Gaussian of σ is the same random field, to 1e-4 of its variance, when the noise is given at every
σ-th place only: what lies between is in the blurred field already. So the noise is small, and the blur one small matrix an axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from nnunet_trainer.training.data.deformation import Deformation

from ..interpolation.separable import along_axis


def displacements(deformation: Deformation, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """(axes, *shape): how far each voxel's place is moved along each axis, in voxels."""
    periodic = deformation.amplitude is None
    blurs = [_blur(edge, sigma, periodic) for edge, sigma in zip(shape, deformation.sigmas, strict=True)]
    field = torch.empty(len(shape), *(blur.shape[1] for blur in blurs), device=generator.device).normal_(generator=generator)
    for axis, blur in enumerate(blurs, start=1):
        field = along_axis(torch.from_numpy(blur).to(field.device, field.dtype), field, axis)
    if deformation.amplitude is not None:
        return field.mul_(deformation.amplitude / math.sqrt(3))  # the deviation of noise between -1 and 1
    each = (-1, *[1] * len(shape))
    largest = torch.tensor(deformation.largest, device=field.device).view(each)
    field = field * (largest / field.abs().flatten(1).amax(1).clamp(min=1e-12).view(each))
    return field - field.flatten(1).mean(1).view(each)


def _blur(edge: int, sigma: float, periodic: bool) -> np.ndarray:
    """(edge, places): from unit noise at so many places to the blurred field at each voxel; the noise is 0 outside, or periodic."""
    places = min(edge, max(4, math.ceil(edge / max(sigma, 1e-6))))
    step = edge / places
    distance = (np.arange(edge) + 0.5)[:, None] - ((np.arange(places) + 0.5) * step)[None]
    turns = (-edge, 0, edge) if periodic else (0,)
    width = max(sigma, 1e-3)
    bell = sum((np.exp(-0.5 * ((distance + turn) / width) ** 2) for turn in turns), np.zeros_like(distance))
    return bell * math.sqrt(step) / (width * math.sqrt(2 * math.pi))
