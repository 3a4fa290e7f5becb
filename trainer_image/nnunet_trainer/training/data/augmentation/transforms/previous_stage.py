"""Cascade: what is done to the previous stage's segmentation so that the network does not trust it.

Labels are dilated, eroded, closed or opened by a ball; one of a label's connected components is taken away. The latter is found by
an algorithm of its own on the CPU, so it is done where patches are read, before all else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Operator = Literal["dilate", "erode", "close", "open"]
OPERATORS: tuple[Operator, ...] = ("dilate", "erode", "close", "open")


class Operation(NamedTuple):
    """An operator, the number of the channel that it is done to, and the voxels across its ball."""

    channel: int
    operator: Operator
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousStageTransform:
    """How the channels of the previous stage are changed; nnU-Net's numbers.

    A sample is worked on with `operator_probability`, then each of its labels with `operator_label_probability`: one of the four
    operators, by a ball whose radius in voxels is drawn uniformly. Components are removed likewise, one of a label, chosen among
    those smaller than the share `removal_limit` of the patch.
    """

    operator_probability: float = 0.4
    operator_label_probability: float = 0.5
    radius: tuple[float, float] = (1.0, 8.0)
    removal_probability: float = 0.2
    removal_label_probability: float = 0.5
    removal_limit: float = 0.15

    def operations(self, channels: int, rng: np.random.Generator) -> list[Operation]:
        """What is done to one sample's channels, in this order."""
        if rng.random() >= self.operator_probability:
            return []
        return [
            Operation(channel, OPERATORS[rng.integers(len(OPERATORS))], edge(rng.uniform(*self.radius)))
            for channel in _chosen(channels, self.operator_label_probability, rng)
        ]

    def removed(self, channels: int, rng: np.random.Generator) -> list[int]:
        """The channels that lose a component."""
        return _chosen(channels, self.removal_label_probability, rng) if rng.random() < self.removal_probability else []


def _chosen(count: int, probability: float, rng: np.random.Generator) -> list[int]:
    """Some of the labels, in random order."""
    return [int(label) for label in rng.permutation(count)[rng.random(count) < probability]]


def edge(radius: float) -> int:
    """Voxels across a ball; an even number is a ball about the corner of a voxel, as in nnU-Net."""
    return int(2 * radius + 1)


def remove_component(
    labels: np.ndarray, label: int, limit: float, rng: np.random.Generator, patch: Sequence[int] | None = None
) -> None:
    """Take one connected component of a label (diagonals connect) away, in place: it becomes background.

    Args:
        labels: (*read) integers.
        label: whose component.
        limit: voxels; only one that has fewer is taken.
        rng: chooses among them.
        patch: more was read than will be seen: only one that reaches into its middle, of this size, is taken.
    """
    from scipy import ndimage  # not where nothing is ever removed

    mask = labels == label
    box = ndimage.find_objects(mask.astype(np.int8))
    if not box:
        return
    near = labels[box[0]]
    components, count = ndimage.label(mask[box[0]], structure=np.ones([3] * mask.ndim))
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    small = np.flatnonzero(sizes < limit)
    if patch is not None:
        starts = [(n - p) // 2 - b.start for n, p, b in zip(labels.shape, patch, box[0], strict=True)]
        seen = components[tuple(slice(max(0, start), max(0, start + p)) for start, p in zip(starts, patch, strict=True))]
        small = np.intersect1d(small, np.unique(seen) - 1)
    if len(small):
        near[components == small[rng.integers(len(small))] + 1] = 0
