"""Blurring and resampling, one axis after the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from nnunet_trainer.preprocessing.resampling.interpolation_matrices import resize_matrix


def gaussian_kernel(sigma: float) -> np.ndarray:
    """Weights of a Gaussian that sum to 1; their odd number is the nearest to 6σ + ½."""
    taps = 2 * int((6 * sigma + 0.5) // 2) + 1
    weights = np.exp(-0.5 * ((np.arange(taps) - taps // 2) / sigma) ** 2)
    return weights / weights.sum()


def blur(rows: torch.Tensor, sigmas: Sequence[Sequence[float]]) -> torch.Tensor:
    """Gaussian blur of rows (k, *spatial) with reflected borders; a width in voxels for each row and axis."""
    for axis in range(1, rows.ndim):
        kernels = [gaussian_kernel(widths[axis - 1]) for widths in sigmas]
        radius, size = max(len(kernel) for kernel in kernels) // 2, rows.shape[axis]
        # Symmetric: the weights from the middle on, 0 where a row's kernel is shorter.
        weights = np.stack([np.pad(kernel[len(kernel) // 2 :], (0, radius - len(kernel) // 2)) for kernel in kernels], axis=1)
        columns = torch.from_numpy(weights).to(rows.device, rows.dtype).view(radius + 1, -1, *[1] * (rows.ndim - 1))
        padded = rows.index_select(axis, _on_device(_reflected(size, radius), rows))
        rows = padded.narrow(axis, radius, size) * columns[0]
        for distance in range(1, radius + 1):
            both = padded.narrow(axis, radius - distance, size) + padded.narrow(axis, radius + distance, size)
            rows.addcmul_(both, columns[distance])
    return rows


def lower_resolution(row: torch.Tensor, reduced: Sequence[int | None], order: int = 1) -> torch.Tensor:
    """Nearest neighbour down to `reduced` points an axis (None leaves it), linear or cubic (3) back up, of (1, *spatial)."""
    if order == 3:
        return _lower_resolution_cubic(row, reduced)
    for axis, count in enumerate(reduced, start=1):
        if count is None:
            continue
        low, high, weight = down_and_up(row.shape[axis], count)
        shape = [-1 if i == axis else 1 for i in range(row.ndim)]
        column = torch.from_numpy(weight).to(row.device, row.dtype).view(shape)
        row = torch.lerp(row.index_select(axis, _on_device(low, row)), row.index_select(axis, _on_device(high, row)), column)
    return row


def _lower_resolution_cubic(row: torch.Tensor, reduced: Sequence[int | None]) -> torch.Tensor:
    """skimage's `resize`, whose cubic result is clipped to the range of what it was made from."""
    shape = row.shape
    for axis, count in enumerate(reduced, start=1):
        if count is not None:
            row = row.index_select(axis, _on_device(nearest_exact(row.shape[axis], count), row))
    low, high = torch.aminmax(row)
    for axis, size in enumerate(shape[1:], start=1):
        if row.shape[axis] != size:
            matrix = resize_matrix(row.shape[axis], size, 3).astype(np.float32)  # a copy: the cached one is read-only
            row = along_axis(_on_device(matrix, row), row, axis)
    return row.clamp(low, high)


def along_axis(matrix: torch.Tensor, x: torch.Tensor, axis: int) -> torch.Tensor:
    """Multiply (m, n) with an axis of n."""
    return torch.tensordot(matrix, x, dims=([1], [axis])).movedim(0, axis)


def _on_device(index: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(index).to(like.device, non_blocking=True)


def _reflected(size: int, radius: int) -> np.ndarray:
    """Indices -radius … size + radius - 1, mirrored at the first and last one."""
    period = max(2 * size - 2, 1)
    index = np.abs(np.arange(-radius, size + radius)) % period
    return np.where(index >= size, period - index, index)


def nearest_exact(size_in: int, size_out: int) -> np.ndarray:
    """The source index of each target index: torch's `nearest-exact`, in its float32 arithmetic."""
    step = np.float32(size_in) / np.float32(size_out)
    source = ((np.arange(size_out, dtype=np.float32) + np.float32(0.5)) * step).astype(np.int64)
    return np.minimum(source, size_in - 1)


@lru_cache(maxsize=4096)
def down_and_up(size: int, reduced: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `size` points the two that it lies between after a reduction to `reduced`, and the second one's weight."""
    position = np.maximum((np.arange(size) + 0.5) * (reduced / size) - 0.5, 0)
    low = np.minimum(position.astype(np.int64), reduced - 1)
    kept = nearest_exact(size, reduced)
    return kept[low], kept[np.minimum(low + 1, reduced - 1)], (position - low).astype(np.float32)
