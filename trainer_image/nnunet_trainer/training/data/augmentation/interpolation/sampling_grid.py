"""Rotating and scaling patches about their centre. The segmentation is resampled by the score of each label, where labels meet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import grid_sample, pad

from .cubic import sample_cubic

OUTSIDE = -1
"""The label beyond the patch that was cut out."""

MARGIN = 2
"""Padding of a volume that is sampled: of what lies further out, all neighbours are padding as well."""


def centre_crop(x: torch.Tensor, patch_size: Sequence[int]) -> torch.Tensor:
    """The middle of the last axes: a view."""
    for axis, size in enumerate(patch_size, start=x.ndim - len(patch_size)):
        x = x.narrow(axis, x.shape[axis] // 2 - size // 2, size)
    return x


PART = 2**21
"""Places whose labels a GPU settles at a time, each of which takes about 200 bytes while that is done."""


@dataclass(frozen=True, slots=True)
class SamplingGrid:
    """Where each output voxel looks in a volume that was padded by `MARGIN` voxels on every side.

    Attributes:
        coordinates: one tensor (n, *patch) an axis; what is further out than the margin's middle is brought there.
        shape: of the padded volume.
        corner: index (n · voxels,) of the lowest of the 2×2(×2) neighbours, into the flattened padded volumes.
    """

    coordinates: list[torch.Tensor]
    shape: tuple[int, ...]
    corner: torch.Tensor

    @property
    def strides(self) -> list[int]:
        """Of the flattened padded volume."""
        return [math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]

    def part(self, some: slice | torch.Tensor) -> SamplingGrid:
        """Of some of the output voxels, counted over all volumes."""
        return replace(self, coordinates=[c.flatten()[some] for c in self.coordinates], corner=self.corner[some])

    def steps(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """The 2×2(×2) neighbours: offsets along each axis, and what to add to `corner`."""
        for offsets in np.ndindex(*[2] * len(self.shape)):
            yield offsets, sum(o * stride for o, stride in zip(offsets, self.strides, strict=True))


def places(
    matrices: torch.Tensor,
    patch_size: Sequence[int],
    initial: Sequence[int],
    moved: torch.Tensor | None = None,
    part: tuple[Sequence[int], Sequence[int]] | None = None,
) -> SamplingGrid:
    """Rotate and scale a patch's voxels about the centre of what was cut out for it.

    Args:
        matrices: (n, d, d), as of `spatial_placement.affine_matrix`.
        patch_size: of the output.
        initial: of the input.
        moved: (n, d, *patch): how far each voxel is moved before it is rotated and scaled, in voxels.
        part: first voxel and size of the part of the input that is there; nothing else may be looked at.
    """
    d = len(patch_size)
    axes = [torch.linspace((1 - n) / 2, (n - 1) / 2, n, device=matrices.device) for n in patch_size]
    spread = [axis.view([-1 if i == k else 1 for i in range(d)]) for k, axis in enumerate(axes)]
    coordinates = []
    for row, size in enumerate(initial):
        # The last axis last: all but one sum are over less than the patch.
        total: torch.Tensor | float = (size - 1) / 2 + MARGIN
        for column in range(d):
            total = matrices[:, row, column].view(-1, *[1] * d) * spread[column] + total
        assert isinstance(total, torch.Tensor)
        if moved is not None:
            total = total + torch.einsum("nc,nc...->n...", matrices[:, row], moved)
        coordinates.append(total.clamp_(0.5, size + 2 * MARGIN - 1.5))
    start, present = part or ([0] * d, initial)
    for coordinate, first in zip(coordinates, start, strict=True):
        coordinate.sub_(first)  # exact: a whole number that is not above it
    shape = tuple(size + 2 * MARGIN for size in present)
    found = SamplingGrid(coordinates, shape, torch.empty(0))
    index = coordinates[-1].int()
    for coordinate, stride in zip(coordinates[:-1], found.strides[:-1], strict=True):
        index.add_(coordinate.int(), alpha=stride)
    volumes = torch.arange(len(matrices), device=matrices.device).view(-1, *[1] * d) * math.prod(shape)
    return replace(found, corner=(index.long() + volumes).flatten())


def sample_image(x: torch.Tensor, where: SamplingGrid, order: int) -> torch.Tensor:
    """Nearest (0), linear (1) or cubic (3) sampling of (n, c, *initial); 0 outside."""
    if order == 3:
        return sample_cubic(x, [c - MARGIN for c in where.coordinates])
    if order == 1 and x.ndim == 5 and x.device.type == "cpu":
        return _gather_linear(x, where)
    # grid_sample counts from -1 to 1, from edge to edge, the last axis first.
    scaled = [(2 * (c - MARGIN) + 1) / size - 1 for c, size in zip(where.coordinates, x.shape[2:], strict=True)]
    grid = torch.stack(scaled[::-1], dim=-1)
    return grid_sample(x, grid, mode="bilinear" if order else "nearest", padding_mode="zeros", align_corners=False)


def _gather_linear(x: torch.Tensor, where: SamplingGrid) -> torch.Tensor:
    """The same in 3D on a CPU, where torch's `grid_sample` takes more than twice as long."""
    padded = pad(x, [MARGIN] * (2 * len(where.shape)))
    fractions = [c.frac().flatten() for c in where.coordinates]
    outputs = []
    for channel in range(x.shape[1]):
        flat = padded[:, channel].flatten()
        around = [flat.index_select(0, where.corner + step) for _, step in where.steps()]
        for fraction in reversed(fractions):
            around = [torch.lerp(low, high, fraction) for low, high in zip(around[::2], around[1::2], strict=True)]
        outputs.append(around[0].view(where.coordinates[0].shape))
    return torch.stack(outputs, dim=1)


def _where_labels_meet(padded: torch.Tensor) -> torch.Tensor:
    """Whether the 2×2(×2) voxels that begin at each place of (n, *size) hold more than one label; False in each axis' last row."""
    low = high = padded
    for axis in range(1, padded.ndim):
        count = padded.shape[axis] - 1
        low = torch.minimum(low.narrow(axis, 0, count), low.narrow(axis, 1, count))
        high = torch.maximum(high.narrow(axis, 0, count), high.narrow(axis, 1, count))
    return pad(low != high, [0, 1] * (padded.ndim - 1))


def sample_segmentation(seg: torch.Tensor, where: SamplingGrid, order: int) -> torch.Tensor:
    """Sample labels (n, c, *initial); -1 outside.

    With order 1 a voxel gets the label of the largest total weight among its 2×2(×2) neighbours; a tie goes to the nearest
    neighbour's label when it is among the tied ones, else to the lowest. Like nnU-Net's, weights are compared in float16 after
    scaling by 1000, which makes near ties exact ones. On a CPU only where neighbours differ is anything computed at all; a GPU
    would have to say first how many places these are.
    """
    padded = pad(seg, [MARGIN] * (2 * len(where.shape)), value=OUTSIDE)
    outputs = []
    for channel in range(seg.shape[1]):
        volume = padded[:, channel].contiguous()
        labels = volume.flatten()
        if seg.device.type != "cpu":
            outputs.append(_settle_all(labels, where, order).view(where.coordinates[0].shape))
            continue
        out = labels.index_select(0, where.corner)
        place = _where_labels_meet(volume).flatten().index_select(0, where.corner).nonzero().squeeze(1)
        if len(place):
            out.index_copy_(0, place, _settle(labels, where.part(place), order, _majority_of_labels))
        outputs.append(out.view(where.coordinates[0].shape))
    return torch.stack(outputs, dim=1)


Majority = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""The label of the largest total weight: of labels and weights (corners, m), and the nearest neighbour's label (m,)."""


def _settle_all(labels: torch.Tensor, where: SamplingGrid, order: int) -> torch.Tensor:
    """The labels of all places, `PART` at a time: those of a large patch together would take gigabytes."""
    parts = [where.part(slice(start, start + PART)) for start in range(0, len(where.corner), PART)]
    return torch.cat([_settle(labels, part, order, _majority_of_corners) for part in parts])


def _settle(labels: torch.Tensor, where: SamplingGrid, order: int, majority: Majority) -> torch.Tensor:
    """The labels of places (m,), those of a `SamplingGrid.part`; `labels` is the flattened padded volume."""
    coordinates = where.coordinates
    rounded = [(c.round() - c.floor()).long() * stride for c, stride in zip(coordinates, where.strides, strict=True)]
    nearest = labels.index_select(0, sum(rounded, start=where.corner))
    if order == 0:
        return nearest
    parts = [c.frac() for c in coordinates]
    around, weights = [], []
    for offsets, step in where.steps():
        around.append(labels.index_select(0, where.corner + step))
        weights.append(math.prod(part if o else 1 - part for o, part in zip(offsets, parts, strict=True)))
    return majority(torch.stack(around), torch.stack(weights), nearest)


def _majority_of_labels(labels: torch.Tensor, weights: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """Label by label, of those that there are."""
    weights = weights * 1000
    winner = best = of_nearest = None
    low = int(labels.min())
    for value in torch.bincount((labels.flatten() - low).int()).nonzero().squeeze(1).tolist():
        # Ascending, so that the lowest of tied labels stays.
        label = torch.tensor(value + low, dtype=labels.dtype, device=labels.device)
        score = (weights * (labels == label)).sum(0).half()
        if winner is None or best is None or of_nearest is None:
            winner, best, of_nearest = label.expand(score.shape).clone(), score, torch.where(nearest == label, score, -1)
            continue
        winner = torch.where(score > best, label, winner)
        best = torch.maximum(best, score)
        of_nearest = torch.where(nearest == label, score, of_nearest)
    assert winner is not None
    return torch.where(of_nearest == best, nearest, winner)


def _majority_of_corners(labels: torch.Tensor, weights: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """Corner by corner: which labels there are need not be known, and many of them cost nothing."""
    weights = weights * 1000
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
