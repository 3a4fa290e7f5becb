"""Sampling of labels between voxels: by the score of each label, where labels meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..functional.parts import slabs
from .images import Sampler, as_channels, flat_channels
from .sampling_grid import MARGIN, SamplingGrid

OUTSIDE = -1
"""The label beyond the patch that was cut out."""

PART = 2**21
"""Places whose labels a GPU settles at a time, each of which takes about 200 bytes while that is done."""


def label_sampler(seg: torch.Tensor, order: int) -> Sampler:
    """Sampling of labels (n, c, *initial); -1 outside.

    With order 1 a voxel gets the label of the largest total weight among its 2×2(×2) neighbours; a tie goes to the nearest
    neighbour's label when it is among the tied ones, else to the lowest. Like nnU-Net's, weights are compared in float16 after
    scaling by 1000, which makes near ties exact ones. On a CPU only where neighbours differ is anything computed at all; a GPU
    would have to say first how many places these are.
    """
    channels = flat_channels(seg, OUTSIDE)
    if seg.device.type != "cpu":
        return lambda where: as_channels([settle_all(labels, where, order) for labels in channels], where)
    size = [edge + 2 * MARGIN for edge in seg.shape[2:]]
    volumes = [(labels, _marked(labels, size)) for labels in channels]
    return lambda where: as_channels([_settle_meetings(labels, marked, where, order) for labels, marked in volumes], where)


def _marked(labels: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Flattened volumes of a size; with the dtype's lowest number where the 2×2(×2) voxels that begin there hold several labels."""
    marked = labels.clone()
    for volume, mark in zip(labels.view(-1, *size), marked.view(-1, *size), strict=True):
        for slab in slabs((size[0] - 1, *size[1:]), 1, labels.device):
            low = high = volume[slab.start : slab.stop + 1]
            for axis in range(volume.ndim):
                count = low.shape[axis] - 1
                low = torch.minimum(low.narrow(axis, 0, count), low.narrow(axis, 1, count))
                high = torch.maximum(high.narrow(axis, 0, count), high.narrow(axis, 1, count))
            # Arithmetic with 0 and 1 takes a tenth of the time of masks. Nothing begins in an axis' last row.
            several = high.ne_(low)
            here = mark[slab][tuple(slice(edge) for edge in several.shape)]
            here.mul_(1 - several).add_(several, alpha=torch.iinfo(labels.dtype).min)
    return marked


def _settle_meetings(labels: torch.Tensor, marked: torch.Tensor, where: SamplingGrid, order: int) -> torch.Tensor:
    """The labels of all places, on a CPU: computed where several meet."""
    out = marked.index_select(0, where.corner)
    meeting = torch.from_numpy(np.flatnonzero(out.numpy() == torch.iinfo(labels.dtype).min))
    if len(meeting):
        there = where.at(meeting)
        nearest = _nearest(labels, there)
        out.index_copy_(0, meeting, majority_of_two(*_corners(labels, there), nearest) if order else nearest)
    return out


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


def majority_of_two(labels: torch.Tensor, weights: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """The label of the largest total weight, quickest where two labels meet; where more do, as `majority_of_corners`.

    Args:
        labels: (corners, m).
        weights: likewise.
        nearest: (m,), which is taken among labels of the same weight.
    """
    values = labels.float()
    low, high = values.amin(0), values.amax(0)
    # 1 and 0: masks, and choosing by them, take several times as long.
    owned = [torch.eq(values, label, out=torch.empty_like(values)) for label in (low, high)]
    below, above = [(own * weights).sum(0).half().float() for own in owned]
    # 1 where the higher label wins, -1 where the lower one does, 0 where they are tied.
    sign = above.sub_(below).sign_()
    winner = (
        high.sub_(nearest).mul_(sign.clamp(min=0)).sub_(low.sub_(nearest).mul_(sign.clamp(max=0))).to(labels.dtype).add_(nearest)
    )
    several = np.flatnonzero(owned[0].add_(owned[1]).sum(0).numpy() < len(labels))
    if len(several):
        some = torch.from_numpy(several)
        found = majority_of_corners(labels.index_select(1, some), weights.index_select(1, some), nearest.index_select(0, some))
        winner.index_copy_(0, some, found)
    return winner


def majority_of_corners(labels: torch.Tensor, weights: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """As `majority_of_two`, corner by corner: which labels there are need not be known, and many of them cost nothing."""
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
