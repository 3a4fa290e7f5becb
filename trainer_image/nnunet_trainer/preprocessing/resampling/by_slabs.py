"""Resampling of what never is in memory as a whole: each band of planes of the result, from the planes that it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .anisotropy import ANISOTROPY, separate_axis
from .interpolation_matrices import BAND, nearest_indices, resize_bands
from .resampling import grow, resize_plane, shrink


@dataclass(frozen=True, slots=True)
class Part:
    """Some planes of the result: `rows`, made of the planes `columns` of the source by `make`: (planes, y, x) to (planes, y, x).

    `linear` tells whether sums of channels are resampled to the sums of what those are resampled to; clipped splines are not.
    """

    rows: slice
    columns: slice
    make: Callable[[np.ndarray], np.ndarray]
    linear: bool = True


def parts(
    name: str,
    arguments: dict[str, Any],
    shape: Sequence[int],
    new_shape: Sequence[int],
    current_spacing: Sequence[float],
    new_spacing: Sequence[float],
) -> list[Part] | None:
    """How one channel of float32 values is resampled along z, part by part, in ascending order.

    The values are those of the function that `name` means, bit by bit. That holds where a plane of the result depends on nothing
    but planes nearby: a spline of a higher order than 1 is clipped to the range of the whole image, a separate axis other than z
    is followed plane by plane, and torch has no parts.

    Args:
        name: of the resampling function, as plans hold it.
        arguments: of it.
        shape: of the source (z, y, x).
        new_shape: of the result.
        current_spacing: of the source along z, y, x.
        new_spacing: of the result.

    Returns:
        None where it cannot be done in parts.
    """
    old, new = _sizes(shape), _sizes(new_shape)
    if old == new or name == "no_resampling_hack":
        return _planes(old[0], lambda block: block)
    if name != "resample_data_or_seg_to_shape" or arguments.get("is_seg"):
        return None
    order, order_z = arguments.get("order", 3), arguments.get("order_z", 0)
    threshold = arguments.get("separate_z_anisotropy_threshold", ANISOTROPY)
    axis = separate_axis(current_spacing, new_spacing, arguments.get("force_separate_z", False), threshold)
    if axis is None:
        return _spline(old, new, order) if order <= 1 else None
    return _slice_by_slice(old, new, order) if axis == 0 and (order_z == 0 or old[0] == new[0]) else None


def _spline(old: tuple[int, ...], new: tuple[int, ...], order: int) -> list[Part]:
    """All three axes. Linear interpolation stays within its source's range: there is nothing to clip."""
    along, down, across = (resize_bands(*sizes, order) for sizes in zip(old, new, strict=True))
    if old[0] == new[0]:
        return _planes(old[0], lambda block: np.stack([resize_plane(down, across, plane) for plane in block]).astype(block.dtype))
    widest = max(part.shape[1] for _, _, part in along)

    def make(part: np.ndarray, block: np.ndarray) -> np.ndarray:
        target = np.empty((len(part), *new[1:]), block.dtype)
        if new[0] < old[0]:
            shrink(block, part, down, across, None, target)
        else:
            grow([resize_plane(down, across, plane) for plane in block], part, widest, None, target)
        return target

    return [Part(rows, columns, lambda block, part=part: make(part, block)) for rows, columns, part in along]  # type: ignore[misc]


def _slice_by_slice(old: tuple[int, ...], new: tuple[int, ...], order: int) -> list[Part]:
    """In the plane by spline, each clipped to its own range; the nearest plane along z."""
    down, across = (resize_bands(*sizes, order) for sizes in zip(old[1:], new[1:], strict=True))
    nearest = np.arange(old[0]) if old[0] == new[0] else nearest_indices(old[0], new[0])

    def plane(source: np.ndarray) -> np.ndarray:
        if old[1:] == new[1:] and order <= 1:
            return source
        return np.clip(resize_plane(down, across, source), source.min(), source.max()).astype(source.dtype)

    def part(start: int) -> Part:
        wanted = nearest[start : start + BAND]
        chosen, back = np.unique(wanted - wanted[0], return_inverse=True)
        columns = slice(int(wanted[0]), int(wanted[-1]) + 1)
        rows = slice(start, start + len(wanted))
        return Part(rows, columns, lambda block: np.stack([plane(block[z]) for z in chosen])[back], linear=order <= 1)

    return [part(start) for start in range(0, new[0], BAND)]


def _planes(count: int, make: Callable[[np.ndarray], np.ndarray]) -> list[Part]:
    ranges = [slice(start, min(start + BAND, count)) for start in range(0, count, BAND)]
    return [Part(planes, planes, make) for planes in ranges]


def _sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in shape)
