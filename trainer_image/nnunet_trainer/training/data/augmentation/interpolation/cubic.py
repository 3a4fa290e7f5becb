"""Cubic B-spline interpolation, as scipy's `map_coordinates` of order 3: what nnU-Net v1 rotates images with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from ..functional.separable import along_axis, reflected

REACH = 2
"""Coefficients beyond the border that are needed, mirrored at the first and the last voxel."""


@lru_cache(maxsize=32)
def _prefilter(size: int) -> np.ndarray:
    """(size, size): from values to the coefficients of the spline through them, mirrored at the first and the last voxel."""
    if size == 1:
        return np.ones((1, 1))
    spline = np.diag(np.full(size, 4.0)) + np.diag(np.ones(size - 1), 1) + np.diag(np.ones(size - 1), -1)
    spline[0, 1] = spline[-1, -2] = 2
    return np.asarray(np.linalg.inv(spline / 6))


@lru_cache(maxsize=32)
def _prefilter_on(size: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(_prefilter(size)).to(dtype).to(device, non_blocking=True)


def _weights(fraction: torch.Tensor) -> list[torch.Tensor]:
    """Of the four neighbours, from how far a place is beyond the second one."""
    t, u = fraction, 1 - fraction
    weights = [u**3 / 6, (t * t * (t - 2) * 3 + 4) / 6, (u * u * (u - 2) * 3 + 4) / 6]
    return [*weights, 1 - sum(weights)]


def spline_coefficients(x: torch.Tensor) -> torch.Tensor:
    """Of the spline through the voxels of (n, c, *initial), mirrored `REACH` voxels beyond the border."""
    for axis, size in enumerate(x.shape[2:], start=2):
        x = along_axis(_prefilter_on(size, x.device, x.dtype), x, axis)
        x = x.index_select(axis, reflected(size, REACH, x.device))
    return x


def sample_cubic(coefficients: torch.Tensor, coordinates: list[torch.Tensor]) -> torch.Tensor:
    """Sample images; 0 further out than half a voxel.

    Args:
        coefficients: (n, c, *size), as of `spline_coefficients`.
        coordinates: one tensor (n, *places) an axis, in voxels of the image.

    Returns:
        (n, c, *places)
    """
    outside = torch.zeros_like(coordinates[0], dtype=torch.bool)
    index, weights = torch.zeros_like(coordinates[0], dtype=torch.long), []
    strides, stride = [], 1
    for axis in reversed(range(len(coordinates))):
        strides.insert(0, stride)
        stride *= coefficients.shape[axis + 2]
    for axis, coordinate in enumerate(coordinates):
        size = coefficients.shape[axis + 2] - 2 * REACH
        outside |= (coordinate < -0.5) | (coordinate > size - 0.5)
        place = coordinate.clamp(0, size - 1)
        first = place.floor()
        weights.append([weight.flatten() for weight in _weights(place - first)])
        index += (first.long() + REACH - 1) * strides[axis]
    index += torch.arange(len(index), device=index.device).view(-1, *[1] * (index.ndim - 1)) * stride
    index, outputs = index.flatten(), []
    for channel in range(coefficients.shape[1]):
        values = _gather(coefficients[:, channel].flatten(), index, strides, weights)
        outputs.append(values.view(coordinates[0].shape).masked_fill_(outside, 0))
    return torch.stack(outputs, dim=1)


def _gather(flat: torch.Tensor, index: torch.Tensor, strides: list[int], weights: list[list[torch.Tensor]]) -> torch.Tensor:
    """The weighted sum of the 4×4(×4) neighbours, one axis within the other."""
    if not strides:
        return flat.index_select(0, index)
    total = torch.zeros(len(index), dtype=flat.dtype, device=flat.device)
    for step, weight in enumerate(weights[0]):
        total.addcmul_(_gather(flat, index + step * strides[0], strides[1:], weights[1:]), weight)
    return total
