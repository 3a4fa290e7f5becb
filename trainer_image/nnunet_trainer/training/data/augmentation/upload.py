"""All arrays of a plan go to the device at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from types import NoneType
from typing import Any

import numpy as np
import torch

ALIGNMENT = 16
_LEAVES = (int, float, NoneType)


def mapped(tree: Any, function: Callable[[np.ndarray], Any]) -> Any:
    """Lists, tuples and dataclasses with other things in the place of arrays."""
    if isinstance(tree, np.ndarray):
        return function(tree)
    kind = type(tree)
    listed = kind in (list, tuple)
    parts = tree if listed else [getattr(tree, name) for name in _fields(kind)]
    changed = [part if type(part) in _LEAVES else mapped(part, function) for part in parts]
    if listed:
        return kind(changed)
    return kind(*changed) if changed else tree


@cache
def _fields(kind: type) -> tuple[str, ...]:
    """The names of a dataclass' fields; none of another type."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


def uploaded(tree: Any, device: torch.device) -> Any:
    """The tree with tensors for arrays: on a CPU over the same memory, else parts of one buffer that is copied once."""
    if device.type == "cpu":
        return mapped(tree, torch.from_numpy)
    buffer, unpack = packed(tree, page_locked)
    return unpack(buffer.to(device, non_blocking=True))


def packed(tree: Any, allocate: Callable[[int], torch.Tensor]) -> tuple[torch.Tensor, Callable[[torch.Tensor], Any]]:
    """All arrays of a tree, one after the other.

    Args:
        tree: holds them.
        allocate: makes a buffer of so many bytes.

    Returns:
        The buffer, and what makes the tree again, with tensors, of the buffer's content wherever that lies.
    """
    arrays: list[np.ndarray] = []
    mapped(tree, arrays.append)
    starts = np.cumsum([0, *(-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays)]).tolist()
    buffer = allocate(starts[-1])
    for array, start in zip(arrays, starts, strict=False):
        buffer.numpy()[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def unpack(content: torch.Tensor) -> Any:
        places = iter(starts)

        def part(array: np.ndarray) -> torch.Tensor:
            start, dtype = next(places), torch.from_numpy(np.empty(0, array.dtype)).dtype
            return content[start : start + array.nbytes].view(dtype).view(array.shape)

        return mapped(tree, part)

    return buffer, unpack


def page_locked(size: int) -> torch.Tensor:
    """Bytes in host memory; torch uses it again once the copy from it is done."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)
