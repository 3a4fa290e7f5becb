"""Where the voxels of each class are, so that training can find a foreground patch without a search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnunet_trainer.dataset.labels import LabelManager, Region

SEED = 1234
AT_LEAST = 10000
FRACTION = 0.01


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
    random = np.random.RandomState(SEED)
    wanted = np.array(sorted({label for c in classes for label in _members(c)}), dtype=seg.dtype)
    if len(wanted) and np.array_equal(wanted, np.arange(wanted[0], wanted[-1] + 1)):
        places = np.flatnonzero((seg >= wanted[0]) & (seg <= wanted[-1]))
    else:
        places = np.flatnonzero(np.isin(seg, wanted))
    values = seg.reshape(-1)[places]
    places = places[np.argsort(values, kind="stable")]  # stable: the voxels of one label stay in their order
    present, counts = np.unique(values, return_counts=True)
    ends = np.cumsum(counts)
    ranges = {int(v): (int(e - n), int(n)) for v, n, e in zip(present, counts, ends, strict=True)}

    found: dict[Region, Any] = {}
    for c in classes:
        parts = [ranges[label] for label in _members(c) if label in ranges]
        total = sum(count for _, count in parts)
        if total == 0:
            found[c] = []
            continue
        number = max(min(AT_LEAST, total), math.ceil(total * FRACTION))
        offsets = random.choice(total, number, replace=False)
        upto = np.cumsum([count for _, count in parts])
        which = np.searchsorted(upto, offsets, side="right")
        starts = np.array([start for start, _ in parts])
        picked = places[starts[which] + offsets - (upto - [count for _, count in parts])[which]]
        found[c] = np.stack(np.unravel_index(picked, seg.shape), axis=1).astype(np.int64, copy=False)
    return found


def _members(c: Region) -> tuple[int, ...]:
    return c if isinstance(c, tuple) else (c,)
