"""How much is worked on at once: all of it on a GPU; on a CPU what stays in its cache, since memory is several times slower."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..part_sizes import CACHED_VOXELS


def slabs(shape: Sequence[int], volumes: int, device: torch.device) -> list[slice]:
    """Parts of the first axis of volumes of a shape, at least a layer each, to be worked on one after the other."""
    if device.type != "cpu":
        return [slice(0, shape[0])]
    step = max(1, CACHED_VOXELS // (volumes * math.prod(shape[1:])))
    return [slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]


def pieces(rows: torch.Tensor) -> Sequence[torch.Tensor]:
    """Views (k, m) of contiguous rows (k, *spatial), to be changed in place one after the other."""
    flat = rows.view(rows.shape[0], -1)
    if rows.device.type != "cpu" or rows.numel() <= CACHED_VOXELS:
        return [flat]
    return flat.split(max(1, CACHED_VOXELS // len(rows)), dim=1)


def take(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Some rows, for reading: a single one on a CPU is not copied."""
    return x[int(rows[0])].unsqueeze(0) if x.device.type == "cpu" and len(rows) == 1 else x.index_select(0, rows)


def put(x: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> None:
    """Copy rows into their places; on a CPU `index_copy_` would copy value by value."""
    if x.device.type != "cpu":
        x.index_copy_(0, rows, values)
        return
    for row, value in zip(rows.tolist(), values, strict=True):
        if value.data_ptr() != x[row].data_ptr():  # it was not worked on in place
            x[row].copy_(value)
