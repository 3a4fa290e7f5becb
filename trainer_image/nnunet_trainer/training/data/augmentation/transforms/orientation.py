"""What moves voxels without resampling: quarter turns, exchanged axes, mirroring. Samples that are changed alike go together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np
import torch

Change = TypeVar("Change", bound=Hashable)
Turned = tuple[tuple[int, int, int], tuple[int, ...]]
"""A quarter turn (how many, and the two axes), and the order of the axes after it."""


def exchangeable(patch_size: Sequence[int]) -> tuple[int, ...]:
    """The axes whose edge is the most common one; none when all differ."""
    counts = [list(patch_size).count(edge) for edge in patch_size]
    return tuple(axis for axis, count in enumerate(counts) if count == max(counts)) if max(counts) > 1 else ()


def draw_turn(rng: np.random.Generator, axes: tuple[int, ...], ndim: int, turn: float, transpose: float) -> Turned:
    """With probability `turn` 0 to 3 quarter turns in a plane of two of the axes; with `transpose` then any order of them."""
    quarters, first, second, order = 0, 0, 1, list(range(ndim))
    if axes and rng.random() < turn:
        plane = sorted(int(axis) for axis in rng.choice(axes, size=2, replace=False))
        quarters = int(rng.integers(4))
        first, second = plane if quarters else (0, 1)
    if axes and rng.random() < transpose:
        for axis, source in zip(axes, rng.permutation(axes), strict=True):
            order[axis] = int(source)
    return (quarters, first, second), tuple(order)


def turn(data: torch.Tensor, seg: torch.Tensor, drawn: Sequence[Turned]) -> None:
    """Work in place on (b, c, *patch) and (b, s, *patch)."""

    def changed(x: torch.Tensor, change: Turned) -> torch.Tensor:
        (quarters, first, second), order = change
        return x.rot90(quarters, (first + 2, second + 2)).permute(0, 1, *(axis + 2 for axis in order))

    still = ((0, 0, 1), tuple(range(data.ndim - 2)))
    _together([data, seg], drawn, still, changed)


def mirror(data: torch.Tensor, seg: torch.Tensor, drawn: Sequence[tuple[int, ...]]) -> None:
    """Flip each sample along its axes; in place, as `turn`."""
    _together([data, seg], drawn, (), lambda x, axes: x.flip([axis + 2 for axis in axes]))


def _together(
    tensors: Sequence[torch.Tensor],
    drawn: Sequence[Change],
    still: Change,
    change: Callable[[torch.Tensor, Change], torch.Tensor],
) -> None:
    groups: dict[Change, list[int]] = defaultdict(list)
    for sample, what in enumerate(drawn):
        groups[what].append(sample)
    groups.pop(still, None)
    for what, samples in groups.items():
        rows = torch.tensor(samples, device=tensors[0].device)
        for tensor in tensors:
            tensor[rows] = change(tensor[rows], what)
