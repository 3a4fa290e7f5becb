"""Where a patch lies in a case: nnU-Net v2's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Locations = Mapping[Any, np.ndarray]
"""Class (label, or tuple of labels for a region) -> voxels (n, 4), whose column 0 is the channel."""

FOREGROUND_FRACTION = 0.33


def forces_foreground(slot: int, batch_size: int, fraction: float = FOREGROUND_FRACTION) -> bool:
    """Whether this slot of the *global* batch must show foreground: the last ones do."""
    return slot >= round(batch_size * (1 - fraction))


def choose_origin(
    shape: Sequence[int],
    patch_size: Sequence[int],
    final_patch_size: Sequence[int],
    locations: Locations,
    rng: np.random.Generator,
    *,
    force_foreground: bool,
    all_labels: Sequence[int] = (),
    has_ignore: bool = False,
) -> tuple[int, ...]:
    """The first voxel of a patch; it may lie outside the image, by up to half of what the patch was enlarged by, or needs.

    Forced foreground: a class, then one of its voxels, each with equal probability, becomes the patch's centre. With an ignore
    label the other patches are centred on any annotated voxel.

    Args:
        shape: of the image, 3 axes.
        patch_size: what is cut out, 3 axes.
        final_patch_size: what the network sees, 3 axes; smaller, when rotation needs a margin.
        locations: class (label, or tuple of labels for a region) -> voxels (n, 4), whose column 0 is the channel.
        rng: of this sample.
        force_foreground: centre on foreground.
        all_labels: every label but ignore; the key of the annotated voxels is `(-1, *all_labels)`.
        has_ignore: whether the dataset has an ignore label.
    """
    margin = [max(p - f, p - s) for p, f, s in zip(patch_size, final_patch_size, shape, strict=True)]
    lowest = [-m // 2 for m in margin]
    highest = [s + m // 2 + m % 2 - p for s, m, p in zip(shape, margin, patch_size, strict=True)]
    annotated = (-1, *all_labels)
    voxels: np.ndarray | None = None
    if force_foreground:
        classes = [name for name, found in locations.items() if len(found)]
        if len(classes) > 1:
            classes = [name for name in classes if name != annotated]
        if classes:
            voxels = locations[classes[rng.integers(len(classes))]]
    elif has_ignore:
        voxels = locations.get(annotated)
    if voxels is None or not len(voxels):
        return tuple(int(rng.integers(low, high + 1)) for low, high in zip(lowest, highest, strict=True))
    voxel = voxels[rng.integers(len(voxels))][1:]
    # Only the lower bound is kept, as in nnU-Net: at the far side a centred patch may reach beyond the margin.
    return tuple(max(low, int(v) - p // 2) for low, v, p in zip(lowest, voxel, patch_size, strict=True))


def read_patch(array: Any, origin: Sequence[int], out: np.ndarray, outside: float) -> None:
    """Copy what `array` ([c,] z, y, x) holds at `origin` into `out` ([c,] *patch); `outside` is what lies beyond it."""
    inside: list[slice] = [slice(None)] * (out.ndim - 3)
    target, whole, empty = list(inside), True, False
    for start, size, extent in zip(origin, out.shape[-3:], array.shape[-3:], strict=True):
        first = max(start, 0)
        last = max(first, min(start + size, extent))
        inside.append(slice(first, last))
        target.append(slice(first - start, last - start))
        whole, empty = whole and last - first == size, empty or last == first
    if not whole:
        out.fill(outside)
    if not empty:
        out[tuple(target)] = array[tuple(inside)]
