"""Blurring and resampling along the axes are linear: one matrix an axis, so that a batch with many strengths is three products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch


def apply_along_axes(x: torch.Tensor, matrices: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Multiply each axis of `x` (k, *spatial) with its own matrix per row, (k, n_out, n_in); None leaves the axis as it is."""
    for axis, matrix in enumerate(matrices):
        if matrix is None:
            continue
        shape = list(x.shape)
        before, inner, after = int(np.prod(shape[1 : axis + 1])), shape[axis + 1], int(np.prod(shape[axis + 2 :]))
        if after == 1:
            y = torch.bmm(x.reshape(shape[0], before, inner), matrix.transpose(1, 2))
        elif before == 1:
            y = torch.bmm(matrix, x.reshape(shape[0], inner, after))
        else:
            y = torch.matmul(matrix[:, None], x.reshape(shape[0], before, inner, after))
        shape[axis + 1] = matrix.shape[1]
        x = y.reshape(shape)
    return x


def blur_matrix(size: int, sigma: float) -> np.ndarray:
    """Gaussian blur with reflected borders, (size, size) float32; the kernel is the odd number of taps nearest to 6σ + ½."""
    taps = 2 * int((6 * sigma + 0.5) // 2) + 1
    offsets = np.arange(taps) - taps // 2
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    period = max(2 * size - 2, 1)
    for offset, weight in zip(offsets, kernel, strict=True):
        column = np.abs(rows + offset) % period
        np.add.at(matrix, (rows, np.where(column >= size, period - column, column)), weight)
    return matrix.astype(np.float32)


def nearest_exact(size_in: int, size_out: int) -> np.ndarray:
    """The source index of each target index: torch's `nearest-exact`, in its float32 arithmetic."""
    step = np.float32(size_in) / np.float32(size_out)
    source = ((np.arange(size_out, dtype=np.float32) + np.float32(0.5)) * step).astype(np.int64)
    return np.minimum(source, size_in - 1)


@lru_cache(maxsize=4096)
def low_resolution_matrix(size: int, reduced: int) -> np.ndarray:
    """Nearest neighbour down to `reduced` points, linear back up to `size`, (size, size) float32."""
    position = np.maximum((np.arange(size) + 0.5) * (reduced / size) - 0.5, 0)
    low = np.minimum(position.astype(np.int64), reduced - 1)
    high = np.minimum(low + 1, reduced - 1)
    weight = position - low
    up = np.zeros((size, reduced))
    np.add.at(up, (np.arange(size), low), 1 - weight)
    np.add.at(up, (np.arange(size), high), weight)
    down = np.zeros((reduced, size))
    down[np.arange(reduced), nearest_exact(size, reduced)] = 1
    return (up @ down).astype(np.float32)
