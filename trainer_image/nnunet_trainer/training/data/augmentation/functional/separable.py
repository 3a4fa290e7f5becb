"""Blurring and resampling, one axis after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .parts import slabs


def blur(rows: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Gaussian blur of rows (k, *spatial) with reflected borders; weights as of `transforms.separable.blur_weights`."""
    radius = len(weights[0]) - 1
    layers, blurred = reflected(rows.shape[1], radius, rows.device), torch.empty_like(rows)
    for slab in slabs(rows.shape[1:], len(rows), rows.device):
        part = _weighted(rows.index_select(1, layers[slab.start : slab.stop + 2 * radius]), 1, weights[0])
        for axis, halves in enumerate(weights[1:], start=2):
            part = _weighted(_bordered(part, axis, len(halves) - 1), axis, halves)
        blurred[:, slab] = part
    return blurred


def _bordered(x: torch.Tensor, axis: int, radius: int) -> torch.Tensor:
    """With so many layers more on both sides of an axis, reflected at the first and the last one."""
    layers, size = reflected(x.shape[axis], radius, x.device), x.shape[axis]
    return torch.cat((x.index_select(axis, layers[:radius]), x, x.index_select(axis, layers[radius + size :])), dim=axis)


def _weighted(padded: torch.Tensor, axis: int, halves: torch.Tensor) -> torch.Tensor:
    """The sum of each layer and its neighbours, by weights (radius + 1, k) from the middle on."""
    radius, columns = len(halves) - 1, halves.view(len(halves), -1, *[1] * (padded.ndim - 1))
    size = padded.shape[axis] - 2 * radius
    total = padded.narrow(axis, radius, size) * columns[0]
    for distance in range(1, radius + 1):
        both = padded.narrow(axis, radius - distance, size) + padded.narrow(axis, radius + distance, size)
        total.addcmul_(both, columns[distance])
    return total


def lower_resolution(rows: torch.Tensor, numbers: Sequence[tuple[torch.Tensor, ...] | None]) -> torch.Tensor:
    """Nearest neighbour down and linear up of rows (k, *spatial), as of `transforms.separable.down_and_up`."""
    # On a CPU whole lines are copied much faster than voxels are gathered.
    return by_lines(rows, numbers) if rows.device.type == "cpu" else by_voxels(rows, numbers)


def by_lines(rows: torch.Tensor, numbers: Sequence[tuple[torch.Tensor, ...] | None]) -> torch.Tensor:
    """Row by row, each down along all axes before it goes up, which it does slab by slab."""
    found = torch.empty_like(rows)
    for number, (row, target) in enumerate(zip(rows, found, strict=True)):
        ups: list[tuple[torch.Tensor, ...] | None] = []
        for axis, each in enumerate(numbers):
            if each is None:
                ups.append(None)
                continue
            low, high, weight = (part[number] for part in each)
            if row.ndim == 2:  # to find out which lines are kept takes longer than to work with all of them
                ups.append((low, high, weight))
                continue
            # numpy's takes a third of the time of torch's.
            kept, index = map(torch.from_numpy, np.unique(torch.stack((low, high)).numpy(), return_inverse=True))
            row = row.index_select(axis, kept)
            ups.append((*index, weight))
        for slab in slabs(target.shape, 1, rows.device):
            first, *others = ups
            part = row[slab] if first is None else _up(row, 0, [each[slab] for each in first])
            for axis, up in enumerate(others, start=1):
                part = part if up is None else _up(part, axis, up)
            target[slab] = part
    return found


def _up(x: torch.Tensor, axis: int, numbers: Sequence[torch.Tensor]) -> torch.Tensor:
    low, high, weight = numbers
    # Whole lines are copied many times faster than single values: a view of what is made line by line.
    lines = x.movedim(axis, 0).contiguous() if axis == x.ndim - 1 else x.movedim(axis, 0)
    column = weight.view(-1, *[1] * (x.ndim - 1))
    return lines.index_select(0, low).lerp_(lines.index_select(0, high), column).movedim(0, axis)


def by_voxels(rows: torch.Tensor, numbers: Sequence[tuple[torch.Tensor, ...] | None]) -> torch.Tensor:
    """All rows at once."""
    for axis, each in enumerate(numbers, start=1):
        if each is not None:
            shape = [len(rows), *(-1 if i == axis else 1 for i in range(1, rows.ndim))]
            low, high, weight = (part.view(shape) for part in each)
            rows = torch.lerp(rows.gather(axis, low.expand_as(rows)), rows.gather(axis, high.expand_as(rows)), weight)
    return rows


def lower_resolution_cubic(row: torch.Tensor, numbers: Sequence[tuple[torch.Tensor, torch.Tensor | None] | None]) -> torch.Tensor:
    """skimage's `resize` of a row (*spatial), whose cubic result is clipped to the range of what it was made from."""
    for axis, each in enumerate(numbers):
        if each is not None:
            row = row.index_select(axis, each[0])
    low, high = torch.aminmax(row)
    for axis, each in enumerate(numbers):
        if each is not None and each[1] is not None:
            row = along_axis(each[1], row, axis)
    return row.clamp(low, high)


def along_axis(matrix: torch.Tensor, x: torch.Tensor, axis: int) -> torch.Tensor:
    """Multiply (m, n) with an axis of n."""
    return torch.tensordot(matrix, x, dims=([1], [axis])).movedim(0, axis)


def reflected(size: int, radius: int, device: torch.device) -> torch.Tensor:
    """Indices -radius … size + radius - 1, mirrored at the first and last one."""
    period = max(2 * size - 2, 1)
    index = torch.arange(-radius, size + radius, device=device).abs() % period
    return torch.where(index >= size, period - index, index)


def nearest_exact(size_in: int, size_out: int, device: torch.device) -> torch.Tensor:
    """`transforms.separable.nearest_exact`, counted on the device."""
    step = torch.tensor(size_in, dtype=torch.float32) / torch.tensor(size_out, dtype=torch.float32)
    source = (torch.arange(size_out, dtype=torch.float32, device=device) + 0.5) * float(step)
    return source.long().clamp_(max=size_in - 1)
