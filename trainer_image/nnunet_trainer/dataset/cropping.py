"""The region of a case that holds anything at all."""

from __future__ import annotations

import numpy as np

BoundingBox = list[list[int]]


def nonzero(data: np.ndarray) -> np.ndarray:
    """Where any channel of (c, z, y, x) is not zero: bool (z, y, x)."""
    mask = data[0] != 0
    for channel in data[1:]:
        mask |= channel != 0
    return mask


def bounding_box(mask: np.ndarray) -> BoundingBox:
    """The half-open box [[start, end], …] around True; the whole array where there is none."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        found = np.flatnonzero(mask.any(axis=others))
        box.append([int(found[0]), int(found[-1]) + 1] if found.size else [0, mask.shape[axis]])
    return box


def slices(box: BoundingBox) -> tuple[slice, ...]:
    """A box as an index."""
    return tuple(slice(start, end) for start, end in box)


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """The mask with its holes: False regions that do not reach the border through a face (scipy's `binary_fill_holes`)."""
    if mask.all():
        return mask
    from scipy.ndimage import label

    regions, count = label(~mask)
    if count == 0:
        return mask
    outside = np.zeros(count + 1, bool)
    for axis in range(mask.ndim):
        for end in (0, -1):
            outside[np.unique(np.take(regions, end, axis=axis))] = True
    outside[0] = False  # region 0 is the mask itself
    return ~outside[regions]


def nonzero_region(data: np.ndarray) -> tuple[np.ndarray, BoundingBox]:
    """The nonzero region of a case (c, z, y, x), its holes filled: bool (z, y, x) of the box around it, and the box."""
    mask = nonzero(data)
    box = bounding_box(mask)
    return fill_holes(mask[slices(box)]), box


def as_segmentation(inside: np.ndarray) -> np.ndarray:
    """A region (z, y, x) as nnU-Net writes it where there is no label: int16 (1, z, y, x), 0 inside and −1 outside."""
    return np.where(inside, np.int16(0), np.int16(-1))[None]
