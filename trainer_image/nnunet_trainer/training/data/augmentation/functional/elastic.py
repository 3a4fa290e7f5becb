"""The displacements of an elastic deformation."""

from __future__ import annotations

import torch

from ..transforms.elastic import Displacements
from .intensity import generator
from .separable import along_axis


def displacements(numbers: Displacements, device: torch.device) -> torch.Tensor:
    """(axes, *shape): how far each voxel's place is moved along each axis, in voxels."""
    axes = len(numbers.blurs)
    noise = torch.empty(axes, *(blur.shape[1] for blur in numbers.blurs), device=device)
    field = noise.normal_(generator=generator(numbers.seed, device))
    for axis, blur in enumerate(numbers.blurs, start=1):
        field = along_axis(blur, field, axis)
    if numbers.factor is not None:
        return field.mul_(numbers.factor)
    each = (-1, *[1] * axes)
    field = field * (numbers.largest.view(each) / field.abs().flatten(1).amax(1).clamp(min=1e-12).view(each))
    return field - field.flatten(1).mean(1).view(each)
