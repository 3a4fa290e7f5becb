"""Sampling of labels on a CPU: computed only where several of them meet, in numpy, which is quicker than torch on few places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..part_sizes import CACHED_VOXELS
from .sampling_grid import SamplingGrid


def marked(labels: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """The dtype's lowest number where the 2×2(×2) voxels that begin at a place hold several labels, else the label.

    Args:
        labels: flattened volumes.
        strides: of their axes. What begins in an axis' last row runs into the next one: nothing is sampled there.
    """
    found, reach, lowest = labels.copy(), sum(strides), np.iinfo(labels.dtype).min
    step = 4 * CACHED_VOXELS  # of one and two bytes
    for start in range(0, len(labels) - reach, step):
        stop = min(start + step, len(labels) - reach)
        part = labels[start : stop + reach]
        first, *others = sorted(strides)
        several = part[: len(part) - first] != part[first:]
        for stride in others:
            count = len(several) - stride
            differ = part[:count] != part[stride : stride + count]
            differ |= several[:count]
            differ |= several[stride:]
            several = differ
        # Arithmetic with 0 and 1 takes a part of the time of masks.
        marks = several.astype(labels.dtype)
        here = found[start:stop]
        here *= 1 - marks
        here += marks * lowest
    return found


def settle_meetings(found: np.ndarray, labels: np.ndarray, where: SamplingGrid, order: int) -> None:
    """Give marked places their labels.

    Args:
        found: what `marked` holds at all places; changed in place.
        labels: flattened padded volumes.
        where: the places.
        order: 0 nearest, 1 by the labels' weights.
    """
    meeting = np.flatnonzero(found == np.iinfo(found.dtype).min)
    if not len(meeting):
        return
    corner = where.corner.numpy().take(meeting)
    coordinates = np.stack([each.numpy().take(meeting) for each in where.coordinates])
    if not order:
        found[meeting] = _nearest(labels, corner, coordinates, where.strides)
        return
    offsets, weights = np.zeros(1, corner.dtype), np.ones((1, len(meeting)), np.float32)
    for part, stride in zip(coordinates - np.floor(coordinates), where.strides, strict=True):
        offsets = (offsets[:, None] + np.array([0, stride], corner.dtype)).reshape(-1)
        weights = (weights[:, None] * np.stack((1 - part, part))).reshape(-1, len(meeting))
    around, weights = labels.take(corner + offsets[:, None]), weights * np.float32(1000)
    winner, unsettled = majority_of_two(around, weights)
    if len(unsettled):
        nearest = _nearest(labels, corner[unsettled], coordinates[:, unsettled], where.strides)
        winner[unsettled] = majority(around[:, unsettled], weights[:, unsettled], nearest)
    found[meeting] = winner


def _nearest(labels: np.ndarray, corner: np.ndarray, coordinates: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """The nearest neighbours' labels."""
    steps = (np.rint(coordinates) - np.floor(coordinates)).astype(corner.dtype)
    found: np.ndarray = labels[corner + np.array(strides, corner.dtype) @ steps]
    return found


def _scores(weights: np.ndarray, axis: int) -> np.ndarray:
    """Sums as float16, whose bits, as whole numbers, are in their order: none is negative."""
    return weights.sum(axis).astype(np.float16).view(np.int16)


def majority_of_two(labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The label of the larger total weight, and the places (k,) where that is not settled: more than two labels, or a tie.

    Args:
        labels: (corners, m).
        weights: likewise.
    """
    low, high = labels.min(0), labels.max(0)
    lower, upper = labels == low, labels == high
    below, above = _scores(weights * lower, 0), _scores(weights * upper, 0)
    settled = (lower | upper).all(0) & (below != above)
    return np.where(above > below, high, low), np.flatnonzero(~settled)


def majority(labels: np.ndarray, weights: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """The label of the largest total weight: of several the nearest neighbour's, when it is among them, else the lowest.

    Args:
        labels: (corners, m).
        weights: likewise.
        nearest: (m,)
    """
    scores = _scores(weights[None] * (labels[None] == labels[:, None]), 1)
    best = scores == scores.max(0)
    lowest = np.where(best, labels, np.iinfo(labels.dtype).max).min(0)
    return np.where((best & (labels == nearest)).any(0), nearest, lowest)
