"""Sampling of labels between voxels: by the score of each label, where labels meet."""

from __future__ import annotations

import numpy as np
import torch

from .images import Sampler, as_channels, flat_channels
from .label_meetings import Meetings, marked
from .sampling_grid import MARGIN, SamplingGrid, strides_of

OUTSIDE = -1
"""The label beyond the patch that was cut out."""

PART = 2**21
"""Places whose labels a GPU settles at a time, each of which takes about 200 bytes while that is done."""


def label_sampler(seg: torch.Tensor, order: int, meetings: Meetings | None = None) -> Sampler:
    """Sampling of labels (n, c, *initial); -1 outside.

    With order 1 a voxel gets the label of the largest total weight among its 2×2(×2) neighbours; a tie goes to the nearest
    neighbour's label when it is among the tied ones, else to the lowest. Like nnU-Net's, weights are compared in float16 after
    scaling by 1000, which makes near ties exact ones. On a CPU only where neighbours differ is anything computed at all; a GPU
    would have to say first how many places these are.

    Args:
        seg: whole numbers; on a CPU what it samples comes in 8 bits where they fit.
        order: 0 nearest, 1 by the labels' weights.
        meetings: on a CPU is left to settle where labels meet; None: that is done here.
    """
    if seg.device.type != "cpu":
        channels = flat_channels(seg, OUTSIDE)
        return lambda where: as_channels([settle_all(labels, where, order) for labels in channels], where)
    strides = strides_of([edge + 2 * MARGIN for edge in seg.shape[2:]])
    flat = [labels.numpy() for labels in flat_channels(seg, OUTSIDE, _narrowest(seg)).unbind()]
    volumes = [(labels, torch.from_numpy(marked(labels, strides))) for labels in flat]

    def sampled(where: SamplingGrid) -> torch.Tensor:
        count, *size = where.coordinates[0].shape
        found = volumes[0][1].new_empty(count, len(volumes), *size)
        unsettled = Meetings(order) if meetings is None else meetings
        corners, *coordinates = (each.view(count, -1).unbind() for each in (where.corner, *where.coordinates))
        for channel, (labels, marks) in enumerate(volumes):
            for own, corner, *place in zip(found[:, channel].flatten(1).unbind(), corners, *coordinates, strict=True):
                torch.index_select(marks, 0, corner, out=own)
                unsettled.add(own.numpy(), labels, strides, corner.numpy(), [each.numpy() for each in place])
        if meetings is None:
            unsettled.settle()
        return found

    return sampled


def _narrowest(labels: torch.Tensor) -> torch.dtype:
    """8 bits where the labels, and a mark, fit: they are gathered in half of the time."""
    numbers, limits = labels.numpy(), np.iinfo(np.int8)
    return torch.int8 if numbers.max() <= limits.max and numbers.min() > limits.min else labels.dtype


def settle_all(labels: torch.Tensor, where: SamplingGrid, order: int) -> torch.Tensor:
    """The labels of all places, `PART` at a time: those of a large patch together would take gigabytes."""
    found = []
    for start in range(0, len(where.corner), PART):
        part = where.part(slice(start, start + PART))
        nearest = _nearest(labels, part)
        found.append(majority_of_corners(*_corners(labels, part), nearest) if order else nearest)
    return torch.cat(found)


def _nearest(labels: torch.Tensor, where: SamplingGrid) -> torch.Tensor:
    """The nearest neighbours' labels, of flattened padded volumes at places (m,)."""
    index = where.corner
    for coordinate, stride in zip(where.coordinates, where.strides, strict=True):
        index = index.add((coordinate.round() - coordinate.floor()).to(index.dtype), alpha=stride)
    return labels.index_select(0, index)


def _corners(labels: torch.Tensor, where: SamplingGrid) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and weights, which sum to 1000, of the 2×2(×2) neighbours of places (m,): (corners, m) each."""
    around, weights = [labels], [torch.ones((), device=labels.device)]
    for coordinate, stride in zip(where.coordinates, where.strides, strict=True):
        part = coordinate.frac()
        shares = 1 - part, part
        around = [each[step:] for each in around for step in (0, stride)]
        weights = [weight * share for weight in weights for share in shares]
    return torch.stack([each.index_select(0, where.corner) for each in around]), torch.stack(weights).mul_(1000)


def majority_of_corners(labels: torch.Tensor, weights: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """The label of the largest total weight, corner by corner: which labels there are need not be known.

    Args:
        labels: (corners, m).
        weights: likewise.
        nearest: (m,), which is taken among labels of the same weight.
    """
    winner = best = of_nearest = None
    for label in labels:
        score = (weights * (labels == label)).sum(0).half()
        own = torch.where(nearest == label, score, -1)
        if winner is None or best is None or of_nearest is None:
            winner, best, of_nearest = label, score, own
            continue
        better = (score > best) | ((score == best) & (label < winner))
        winner, best, of_nearest = torch.where(better, label, winner), torch.maximum(best, score), torch.maximum(of_nearest, own)
    assert winner is not None
    return torch.where(of_nearest == best, nearest, winner)
