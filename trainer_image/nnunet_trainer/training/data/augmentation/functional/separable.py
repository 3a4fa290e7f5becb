"""Blurring and resampling, one axis after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def blur(rows: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Gaussian blur of rows (k, *spatial) with reflected borders; weights as of `transforms.separable.blur_weights`."""
    for axis, halves in enumerate(weights, start=1):
        radius, size = len(halves) - 1, rows.shape[axis]
        columns = halves.view(radius + 1, -1, *[1] * (rows.ndim - 1))
        padded = rows.index_select(axis, reflected(size, radius, rows.device))
        rows = padded.narrow(axis, radius, size) * columns[0]
        for distance in range(1, radius + 1):
            both = padded.narrow(axis, radius - distance, size) + padded.narrow(axis, radius + distance, size)
            rows.addcmul_(both, columns[distance])
    return rows


def lower_resolution(rows: torch.Tensor, numbers: Sequence[tuple[torch.Tensor, ...] | None]) -> torch.Tensor:
    """Nearest neighbour down and linear up of rows (k, *spatial), as of `transforms.separable.down_and_up`."""
    # On a CPU whole lines are copied much faster than voxels are gathered.
    return by_lines(rows, numbers) if rows.device.type == "cpu" else by_voxels(rows, numbers)


def by_lines(rows: torch.Tensor, numbers: Sequence[tuple[torch.Tensor, ...] | None]) -> torch.Tensor:
    """Row by row."""
    return torch.stack([_lower_resolution(row, numbers, i) for i, row in enumerate(rows)])


def by_voxels(rows: torch.Tensor, numbers: Sequence[tuple[torch.Tensor, ...] | None]) -> torch.Tensor:
    """All rows at once."""
    for axis, each in enumerate(numbers, start=1):
        if each is not None:
            shape = [len(rows), *(-1 if i == axis else 1 for i in range(1, rows.ndim))]
            low, high, weight = (part.view(shape) for part in each)
            rows = torch.lerp(rows.gather(axis, low.expand_as(rows)), rows.gather(axis, high.expand_as(rows)), weight)
    return rows


def _lower_resolution(row: torch.Tensor, numbers: Sequence[tuple[torch.Tensor, ...] | None], number: int) -> torch.Tensor:
    for axis, each in enumerate(numbers):
        if each is not None:
            low, high, weight = (part[number] for part in each)
            column = weight.view([-1 if i == axis else 1 for i in range(row.ndim)])
            row = torch.lerp(row.index_select(axis, low), row.index_select(axis, high), column)
    return row


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
