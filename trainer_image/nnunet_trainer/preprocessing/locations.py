"""Where the voxels of each class are, so that training can find a foreground patch without a search."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_trainer.dataset.labels import LabelManager, Region

SEED = 1234
AT_LEAST = 10000
FRACTION = 0.01
SLAB = 1 << 20  # voxels that are sorted at once


def classes_to_locate(labels: LabelManager) -> list[Region]:
    """The foreground classes; with an ignore label also all annotated voxels together, under the key (−1, *labels)."""
    wanted = labels.foreground_classes
    return [*wanted, (-1, *labels.all_labels)] if labels.has_ignore_label else wanted


def class_locations(seg: np.ndarray, classes: list[Region]) -> dict[Region, Any]:
    """Draw voxels of each class, the same ones as nnU-Net ≥ 2.6.3.

    Args:
        seg: integers (1, z, y, x).
        classes: labels, or tuples of labels (regions).

    Returns:
        for each class (n, 4) int64 indices into `seg`, or an empty list where it has no voxel. Of N voxels
        max(min(10000, N), ⌈0.01 N⌉) are drawn without replacement.
    """
    wanted = {label for c in classes for label in _members(c)}
    if not wanted:
        return {}
    volume = _Volume(seg, min(wanted), max(wanted))
    random, found, chosen = np.random.RandomState(SEED), dict[Region, Any](), dict[Region, _Chosen]()
    for c in classes:
        sizes = [volume.total(label) for label in _members(c)]
        total = sum(sizes)
        found[c] = []
        if total:
            number = max(min(AT_LEAST, total), math.ceil(total * FRACTION))
            chosen[c] = volume.choose(_members(c), sizes, random.choice(total, number, replace=False))
    for slab in range(len(volume.slabs)):
        volume.resolve(slab, chosen.values())
    for c, picked in chosen.items():
        found[c] = np.stack(np.unravel_index(picked.places, seg.shape), axis=1).astype(np.int64, copy=False)
    return found


@dataclass(slots=True)
class _Chosen:
    """Voxels of a class: of which label, the how-manieth of it in which slab; and where that is, once it is known."""

    label: np.ndarray
    rank: np.ndarray
    slab: np.ndarray
    places: np.ndarray


class _Volume:
    """A segmentation (1, z, y, x) as slabs, so that what is sorted at once stays small. Labels from `low` to `high` count."""

    def __init__(self, seg: np.ndarray, low: int, high: int) -> None:
        self.seg, self.low, self.high = seg, low, high
        self.plane = math.prod(seg.shape[2:])
        planes = max(1, SLAB // max(1, self.plane))
        self.slabs = [slice(start, start + planes) for start in range(0, seg.shape[1], planes)]
        counts = [np.bincount(self._labels(slab)[1], minlength=high - low + 1) for slab in self.slabs]
        self.counts = np.array(counts).reshape(len(self.slabs), high - low + 1)
        self.upto = np.cumsum(self.counts, 0)

    def _labels(self, slab: slice) -> tuple[np.ndarray, np.ndarray]:
        """The places in a slab, and the labels from 0 on there, of all voxels that count."""
        values = self.seg[0, slab].reshape(-1)
        places = np.flatnonzero((values >= self.low) & (values <= self.high))
        return places, values[places] - values.dtype.type(self.low)

    def total(self, label: int) -> int:
        """How many voxels a label has."""
        return int(self.upto[-1, label - self.low])

    def choose(self, members: tuple[int, ...], sizes: list[int], offsets: np.ndarray) -> _Chosen:
        """The voxels of these labels, one label after the other, that the offsets name."""
        ends = np.cumsum(sizes)
        which = np.searchsorted(ends, offsets, side="right")
        label, rank = np.array(members)[which] - self.low, offsets - (ends - sizes)[which]
        slab = np.empty(len(offsets), np.intp)
        for one in np.unique(label):
            own = label == one
            slab[own] = np.searchsorted(self.upto[:, one], rank[own], side="right")
        return _Chosen(label, rank - (self.upto - self.counts)[slab, label], slab, np.empty(len(offsets), np.int64))

    def resolve(self, slab: int, chosen: Iterable[_Chosen]) -> None:
        """Fill in the places of the voxels that lie in one slab."""
        places, labels = self._labels(self.slabs[slab])
        places = places[np.argsort(labels, kind="stable")]  # stable: the voxels of one label stay in their order
        starts = np.cumsum(self.counts[slab]) - self.counts[slab]
        for picks in chosen:
            here = np.flatnonzero(picks.slab == slab)
            place = places[starts[picks.label[here]] + picks.rank[here]]
            picks.places[here] = place + self.slabs[slab].start * self.plane


def _members(c: Region) -> tuple[int, ...]:
    return c if isinstance(c, tuple) else (c,)
