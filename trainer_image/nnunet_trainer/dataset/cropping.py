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


def crop_to_nonzero(data: np.ndarray, seg: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, BoundingBox]:
    """Cut a case to its nonzero region.

    Args:
        data: (c, z, y, x).
        seg: (1, z, y, x) or None.

    Returns:
        views of the data and the segmentation, which is −1 where it was 0 outside the region, and the box. Without a
        segmentation it is 0 inside and −1 outside.
    """
    mask = nonzero(data)
    box = bounding_box(mask)
    index = slices(box)
    inside = fill_holes(mask[index])
    data = data[(slice(None), *index)]
    if seg is None:
        return data, np.where(inside, np.int16(0), np.int16(-1))[None], box
    seg = seg[(slice(None), *index)]
    seg[0][(seg[0] == 0) & ~inside] = -1
    return data, seg, box
