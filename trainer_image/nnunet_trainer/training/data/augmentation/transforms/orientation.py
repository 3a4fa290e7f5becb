"""What moves voxels without resampling: quarter turns, exchanged axes, mirroring."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

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


def together(drawn: Sequence[Change], still: Change) -> list[tuple[Change, np.ndarray]]:
    """Each change and the samples that it is done to; nothing for those that are left alone.

    Args:
        drawn: of each sample.
        still: the change that is none.
    """
    groups: dict[Change, list[int]] = defaultdict(list)
    for sample, what in enumerate(drawn):
        groups[what].append(sample)
    groups.pop(still, None)
    return [(what, np.array(samples)) for what, samples in groups.items()]
