"""Cascade: the previous stage's segmentation as image channels, and what is done to it so that the network does not trust it.

Labels are dilated, eroded, closed or opened by a ball; one of a label's connected components is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.training.data.randomness import SampleKey

FAR = 2**14
"""More than any squared distance that counts here."""


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

    def augment(self, channels: torch.Tensor, rng: np.random.Generator) -> None:
        """Work on one sample's channels (labels, *patch) bool, in place."""
        if rng.random() < self.operator_probability:
            for label in _chosen(len(channels), self.operator_label_probability, rng):
                operator = OPERATORS[rng.integers(len(OPERATORS))]
                apply_operator(channels, label, operator, edge(rng.uniform(*self.radius)))
        if rng.random() < self.removal_probability:
            for label in _chosen(len(channels), self.removal_label_probability, rng):
                remove_component(channels[label], self.removal_limit, rng)


def previous_stage_channels(
    data: torch.Tensor,
    seg: torch.Tensor,
    labels: Sequence[int],
    augmentation: PreviousStageTransform | None = None,
    keys: Sequence[SampleKey] = (),
) -> tuple[torch.Tensor, torch.Tensor]:
    """The previous stage's segmentation, channel 1 of `seg`, becomes one image channel a foreground label.

    Args:
        data: (b, c, *patch).
        seg: (b, 2, *patch).
        labels: foreground labels, the channels' order.
        augmentation: what is done to them; None: nothing.
        keys: of each sample.

    Returns:
        data (b, c + labels, *patch) and seg (b, 1, *patch).

    Raises:
        BadConfiguration: `seg` has no such channel.
    """
    if seg.shape[1] < 2:
        message = "This configuration is the second stage of a cascade: it needs the predictions of the previous stage as an input."
        raise BadConfiguration("NoPreviousStage", message, hint="Train a configuration that stands on its own, as 3d_fullres.")
    hot = torch.stack([seg[:, 1] == label for label in labels], dim=1)
    if augmentation is not None:
        for channels, key in zip(hot, keys, strict=True):
            augmentation.augment(channels, key.generator("previous stage"))
    return torch.cat((data, hot.to(data.dtype)), dim=1), torch.cat((seg[:, :1], seg[:, 2:]), dim=1)


def _chosen(count: int, probability: float, rng: np.random.Generator) -> list[int]:
    """Some of the labels, in random order."""
    return [int(label) for label in rng.permutation(count)[rng.random(count) < probability]]


def edge(radius: float) -> int:
    """Voxels across a ball; an even number is a ball about the corner of a voxel, as in nnU-Net."""
    return int(2 * radius + 1)


def dilate(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Dilate a mask (*patch) bool by a ball `size` voxels across; nothing is beyond the border.

    The squared distance to the nearest voxel of the mask is a sum over axes, so it is found axis by axis: three times a ball's
    diameter of steps, where a convolution takes its volume. Distances are doubled, which makes those to corners whole numbers.
    """
    even, limit = 1 - size % 2, (size - 1) ** 2
    distance = torch.where(mask, 0, FAR).to(torch.int16)
    for axis in range(mask.ndim):
        length = distance.shape[axis]
        before, after = [list(distance.shape) for _ in range(2)]
        before[axis], after[axis] = (size - 1) // 2, size // 2
        padded = torch.cat((distance.new_full(before, FAR), distance, distance.new_full(after, FAR)), dim=axis)
        nearest = distance.clone()
        for place in range(size):
            step = (2 * (place - (size - 1) // 2) - even) ** 2
            torch.minimum(nearest if place else nearest.fill_(FAR), padded.narrow(axis, place, length) + step, out=nearest)
        distance = nearest
    return distance <= limit


def erode(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Erode a mask; beyond the border all counts as inside."""
    return ~dilate(~mask, size)


def close(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Dilate, then erode."""
    return erode(dilate(mask, size), size)


def open_(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Erode, then dilate."""
    return dilate(erode(mask, size), size)


MorphologicalOperator = Callable[[torch.Tensor, int], torch.Tensor]
OPERATORS: tuple[MorphologicalOperator, ...] = (dilate, erode, close, open_)


def apply_operator(channels: torch.Tensor, label: int, operator: MorphologicalOperator, size: int) -> None:
    """Apply an operator to one of the channels (labels, *patch), in place; what it gains the others lose."""
    box = _box(channels[label], margin=size + 1)
    if box is None:
        return
    near = channels[(slice(None), *box)]
    result = operator(near[label], size)
    near &= near[label] | ~result
    near[label] = result


def remove_component(mask: torch.Tensor, limit: float, rng: np.random.Generator) -> None:
    """Take one connected component (diagonals connect) that is smaller than the share `limit` of the patch away, in place."""
    box = _box(mask, margin=0)
    if box is None:
        return
    near = mask[box]
    components, count = ndimage.label(near.cpu().numpy(), structure=np.ones([3] * mask.ndim))
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    small = np.flatnonzero(sizes < limit * mask.numel())
    if len(small):
        near &= torch.from_numpy(components != small[rng.integers(len(small))] + 1).to(mask.device)


def _box(mask: torch.Tensor, margin: int) -> tuple[slice, ...] | None:
    """The part of a mask that holds all of it, `margin` voxels wider where there is room; None when it is empty."""
    box = []
    for axis in range(mask.ndim):
        others = [a for a in range(mask.ndim) if a != axis]
        found = mask.amax(others).nonzero().flatten().tolist()
        if not found:
            return None
        box.append(slice(max(0, found[0] - margin), min(mask.shape[axis], found[-1] + 1 + margin)))
    return tuple(box)
