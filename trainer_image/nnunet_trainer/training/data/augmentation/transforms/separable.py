"""Weights of filters and resampling along one axis at a time, of several rows with numbers of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from nnunet_trainer.preprocessing.resampling.interpolation_matrices import resize_matrix


def gaussian_kernel(sigma: float) -> np.ndarray:
    """Weights of a Gaussian that sum to 1; their odd number is the nearest to 6σ + ½."""
    taps = 2 * int((6 * sigma + 0.5) // 2) + 1
    weights = np.exp(-0.5 * ((np.arange(taps) - taps // 2) / sigma) ** 2)
    return weights / weights.sum()


def blur_weights(sigmas: Sequence[Sequence[float] | np.ndarray]) -> list[np.ndarray]:
    """For each axis the rows' Gaussians (largest radius + 1, k) float32, from the middle on: they are symmetric.

    Args:
        sigmas: widths in voxels, of each row along each axis.
    """
    found = []
    for axis in range(len(sigmas[0])):
        kernels = [gaussian_kernel(widths[axis]) for widths in sigmas]
        halves = np.zeros((max(len(kernel) for kernel in kernels) // 2 + 1, len(kernels)), np.float32)
        for row, kernel in enumerate(kernels):
            halves[: len(kernel) // 2 + 1, row] = kernel[len(kernel) // 2 :]
        found.append(halves)
    return found


def nearest_exact(size_in: int, size_out: int) -> np.ndarray:
    """The source index of each target index: torch's `nearest-exact`, in its float32 arithmetic."""
    step = np.float32(size_in) / np.float32(size_out)
    source = ((np.arange(size_out, dtype=np.float32) + np.float32(0.5)) * step).astype(np.int64)
    return np.minimum(source, size_in - 1)


def down_and_up(shape: Sequence[int], reduced: Sequence[Sequence[int | None]]) -> list[tuple[np.ndarray, ...] | None]:
    """Nearest neighbour down to some points and linear up again, as of each voxel the two that it lies between.

    Args:
        shape: of a row.
        reduced: points of each row along each axis; None leaves the axis, in all rows.

    Returns:
        For each axis: the lower (k, edge) and the upper one, and the upper one's weight; None where it is left.
    """
    found: list[tuple[np.ndarray, ...] | None] = []
    for axis, size in enumerate(shape):
        rows = [_between(size, count) for counts in reduced if (count := counts[axis]) is not None]
        found.append(tuple(np.stack(arrays) for arrays in zip(*rows, strict=True)) if rows else None)
    return found


@lru_cache(maxsize=4096)
def _between(size: int, reduced: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    position = np.maximum((np.arange(size) + 0.5) * (reduced / size) - 0.5, 0)
    low = np.minimum(position.astype(np.int64), reduced - 1)
    kept = nearest_exact(size, reduced)
    return kept[low], kept[np.minimum(low + 1, reduced - 1)], (position - low).astype(np.float32)


def down_and_up_cubic(
    shape: Sequence[int], reduced: Sequence[Sequence[int | None]]
) -> list[list[tuple[np.ndarray, np.ndarray | None] | None]]:
    """The same with cubic splines up: skimage's `resize`.

    Returns:
        For each row and axis: which voxels are kept, and the matrix (edge, kept) that makes all of them, None where all are kept;
        None where the axis is left.
    """
    found = []
    for counts in reduced:
        row: list[tuple[np.ndarray, np.ndarray | None] | None] = []
        for size, count in zip(shape, counts, strict=True):
            matrix = None if count in (None, size) else resize_matrix(count, size, 3).astype(np.float32)
            row.append(None if count is None else (nearest_exact(size, count), matrix))
        found.append(row)
    return found
