"""Resizing label maps: each label's indicator is interpolated, the highest wins; an exact tie goes to the nearest voxel's label.

The rule of batchgenerators' `resize_segmentation` (0.25.5). Linear interpolation mixes at most 2×2×2 voxels, so only output voxels
whose neighbourhood is mixed are worked on; for these, weights and sums are formed in the order of scipy's `zoom`, so that a tie
there is a tie here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from copy import copy

import numpy as np

BLOCK = 1 << 16
SLAB = 1 << 21  # output voxels that are worked on at once


def resize_labels(labels: np.ndarray, new_shape: Sequence[int], order: int) -> np.ndarray:
    """Resize a label map of any rank, in its own type."""
    new_shape = tuple(int(n) for n in new_shape)
    if labels.shape == new_shape and order <= 1:
        return labels
    axes = [_Axis(size, new) for size, new in zip(labels.shape, new_shape, strict=True)]
    if order == 0:
        return _gather(labels, [axis.nearest for axis in axes])
    if order == 1:
        return _linear(labels, axes, new_shape)
    return _by_indicators(labels, axes, new_shape, order)


def resize_labels_along(planes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Interpolate label maps along their first axis with a (new, old) matrix; a label wins where its indicator exceeds one half."""
    result = np.zeros((len(matrix), *planes.shape[1:]), planes.dtype)
    for label in np.unique(planes):
        result[np.tensordot(matrix, (planes == label).astype(np.float64), 1) > 0.5] = label
    return result


class _Axis:
    """Where each output index of an axis falls between two input indices, by scipy's arithmetic (`grid_mode`, mode nearest)."""

    def __init__(self, size: int, new_size: int) -> None:
        place = (np.arange(new_size) + 0.5) * (size / new_size) - 0.5
        floor = np.floor(place)
        # Beyond the border both neighbours are the border itself, with weights of their own: scipy adds them up one by one.
        self.low, self.high, self.nearest = (
            np.clip(index, 0, size - 1).astype(np.intp) for index in (floor, floor + 1, np.floor(place + 0.5))
        )
        self.weight_low = 1 - (place - floor)
        self.weight_high = 1 - self.weight_low

    def part(self, rows: slice) -> tuple[_Axis, slice]:
        """Some output indices, and the input indices that they need, from which theirs then count."""
        part = copy(self)
        near = slice(int(self.low[rows].min()), int(self.high[rows].max()) + 1)
        for name in ("low", "high", "nearest"):
            setattr(part, name, getattr(self, name)[rows] - near.start)
        part.weight_low, part.weight_high = self.weight_low[rows], self.weight_high[rows]
        return part, near


def _linear(labels: np.ndarray, axes: list[_Axis], new_shape: tuple[int, ...]) -> np.ndarray:
    """Slab by slab along the first axis, so that what is held beside the result stays small."""
    result = np.empty(new_shape, labels.dtype)
    planes = max(1, SLAB // max(1, math.prod(new_shape[1:])))
    for start in range(0, new_shape[0], planes):
        rows = slice(start, min(start + planes, new_shape[0]))
        first, near = axes[0].part(rows)
        _linear_slab(labels[near], [first, *axes[1:]], result[rows])
    return result


def _linear_slab(labels: np.ndarray, axes: list[_Axis], result: np.ndarray) -> None:
    mixed_cells, lows = _mixed(labels), [axis.low for axis in axes]
    result[...] = _gather(labels, lows)
    if not mixed_cells.any():
        return
    mixed = np.flatnonzero(_gather(mixed_cells, lows))
    flat = result.reshape(-1)
    for start in range(0, len(mixed), BLOCK):
        part = mixed[start : start + BLOCK]
        flat[part] = _vote(labels, axes, np.unravel_index(part, result.shape))


def _gather(array: np.ndarray, indices: list[np.ndarray]) -> np.ndarray:
    """`array[np.ix_(*indices)]`, several times as fast: an axis at a time, those that shrink first."""
    for axis in sorted(range(array.ndim), key=lambda a: len(indices[a]) / array.shape[a]):
        array = array.take(indices[axis], axis)
    return array


def _mixed(labels: np.ndarray) -> np.ndarray:
    """Whether the voxel and its upper neighbours (2^rank in all) hold more than one label."""
    low, high = labels, labels
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1:
            after = np.minimum(np.arange(labels.shape[axis]) + 1, labels.shape[axis] - 1)
            low = np.minimum(low, np.take(low, after, axis))
            high = np.maximum(high, np.take(high, after, axis))
    return low != high


def _vote(labels: np.ndarray, axes: list[_Axis], where: tuple[np.ndarray, ...]) -> np.ndarray:
    """The winning label at some output voxels (one index array an axis)."""
    corners, weights = [], []
    for corner in itertools.product((0, 1), repeat=labels.ndim):
        index, weight = [], np.ones(len(where[0]))
        for axis, place, upper in zip(axes, where, corner, strict=True):
            index.append((axis.high if upper else axis.low)[place])
            weight = weight * (axis.weight_high if upper else axis.weight_low)[place]
        corners.append(labels[tuple(index)])
        weights.append(weight)
    values, powers = np.stack(corners), np.stack(weights)
    scores = np.zeros_like(powers)
    for score, value in zip(scores, values, strict=True):
        for other, weight in zip(values, powers, strict=True):
            score += np.where(other == value, weight, 0.0)
    np.clip(scores, 0, 1, out=scores)
    best = scores.max(0)
    top = scores == best
    winner = np.where(top, values, np.iinfo(values.dtype).max).min(0)
    nearest = labels[tuple(axis.nearest[place] for axis, place in zip(axes, where, strict=True))]
    return np.where((top & (values == nearest)).any(0), nearest, winner)


def _by_indicators(labels: np.ndarray, axes: list[_Axis], new_shape: tuple[int, ...], order: int) -> np.ndarray:
    """The same for splines of higher order, which reach beyond the neighbours: one interpolation a label."""
    from scipy.ndimage import zoom

    nearest = _gather(labels, [axis.nearest for axis in axes])
    best = np.full(new_shape, -np.inf)
    result = np.empty(new_shape, labels.dtype)
    factors = [1 / (size / new) for size, new in zip(labels.shape, new_shape, strict=True)]
    for label in np.unique(labels):
        score = zoom((labels == label).astype(np.float64), factors, order=order, mode="nearest", grid_mode=True).clip(0, 1)
        better = (score > best) | ((score == best) & (score > 0) & (nearest == label))
        result[better] = label
        np.maximum(best, score, out=best)
    return result
