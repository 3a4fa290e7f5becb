"""Sampling of labels on a CPU: computed only where several of them meet, in numpy, which is quicker than torch on few places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..part_sizes import CACHED_VOXELS


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


class Meetings:
    """Places of some volumes where several labels meet, which get theirs together: a few take nearly as long as a few thousand.

    Args:
        order: 0 nearest, 1 by the labels' weights.
    """

    def __init__(self, order: int) -> None:
        self._order = order
        self._added: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def add(
        self, found: np.ndarray, labels: np.ndarray, strides: Sequence[int], corner: np.ndarray, coordinates: Sequence[np.ndarray]
    ) -> None:
        """The marked places of a volume.

        Args:
            found: what `marked` holds at all places, (m,); `settle` changes it.
            labels: flattened padded volumes.
            strides: of their axes.
            corner: as of `SamplingGrid`, (m,).
            coordinates: likewise, one array an axis.
        """
        meeting = np.flatnonzero(found == np.iinfo(found.dtype).min)
        if not len(meeting):
            return
        offsets = np.zeros(1, np.int64)
        for stride in strides:
            offsets = (offsets[:, None] + np.array([0, stride])).reshape(-1)
        around = labels.take(corner.take(meeting) + offsets[:, None])
        self._added.append((found, meeting, around, np.stack([each.take(meeting) for each in coordinates])))

    def settle(self) -> None:
        """Give all of them their labels."""
        if not self._added:
            return
        places, meetings, labels, coordinates = zip(*self._added, strict=True)
        self._added = []
        settled = settled_labels(np.concatenate(labels, axis=1), np.concatenate(coordinates, axis=1), self._order)
        start = 0
        for found, meeting in zip(places, meetings, strict=True):
            found[meeting] = settled[start : start + len(meeting)]
            start += len(meeting)


def settled_labels(around: np.ndarray, coordinates: np.ndarray, order: int) -> np.ndarray:
    """The labels of places, (m,).

    Args:
        around: of the 2×2(×2) voxels around each, (corners, m).
        coordinates: (d, m).
        order: 0 nearest, 1 by the labels' weights.
    """
    low = np.floor(coordinates)
    if not order:
        return _nearest(around, coordinates, low)
    upper = coordinates - low
    shares = np.stack((1 - upper, upper), axis=1)
    weights = shares[0]
    for share in shares[1:]:
        weights = (weights[:, None] * share).reshape(-1, share.shape[-1])
    weights = weights * np.float32(1000)
    winner, unsettled = majority_of_two(around, weights)
    if len(unsettled):
        some = around[:, unsettled]
        winner[unsettled] = majority(some, weights[:, unsettled], _nearest(some, coordinates[:, unsettled], low[:, unsettled]))
    return winner


def _nearest(around: np.ndarray, coordinates: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The nearest neighbours' labels."""
    corner = np.zeros(around.shape[1], np.int64)
    for upper in (np.rint(coordinates) - low).astype(np.int64):
        corner = 2 * corner + upper
    found: np.ndarray = around[corner, np.arange(len(corner))]
    return found


def _scores(weights: np.ndarray, axis: int) -> np.ndarray:
    """Sums as float16, whose bits, as whole numbers, are in their order: none is negative."""
    return weights.sum(axis).astype(np.float16).view(np.int16)


def majority_of_two(labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest or highest label where it has more than half of the weight, and the places (k,) where that is not settled.

    Args:
        labels: (corners, m).
        weights: likewise; of each place they sum to 1000.
    """
    low, high = labels.min(0), labels.max(0)
    below, above = ((weights * (labels == label)).sum(0) for label in (low, high))
    # What is more than this is more than what is left in float16 too.
    return np.where(above > below, high, low), np.flatnonzero(np.maximum(below, above) < 501)


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
