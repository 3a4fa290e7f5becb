"""Rotating and scaling patches about their centre. The segmentation is resampled by the score of each label, where labels meet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample, pad

OUTSIDE = -1
"""The label beyond the patch that was cut out."""


def affine_matrix(angles: Sequence[float], scales: Sequence[float]) -> np.ndarray:
    """Rotation times scaling, acting on column vectors in the order of the array's axes: (2, 2) or (3, 3)."""
    if len(scales) == 2:
        sine, cosine = math.sin(angles[-1]), math.cos(angles[-1])
        return np.array([[cosine, -sine], [sine, cosine]]) @ np.diag(scales)
    rotations = []
    for (a, b), angle in zip([(1, 2), (2, 0), (0, 1)], angles, strict=True):
        matrix = np.eye(3)
        sine, cosine = math.sin(angle), math.cos(angle)
        matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = cosine, -sine, sine, cosine
        rotations.append(matrix)
    about_first, about_second, about_third = rotations
    return about_third @ about_second @ about_first @ np.diag(scales)


def centre_crop(x: torch.Tensor, patch_size: Sequence[int]) -> torch.Tensor:
    """The middle of the last axes: a view."""
    for axis, size in enumerate(patch_size, start=x.ndim - len(patch_size)):
        x = x.narrow(axis, x.shape[axis] // 2 - size // 2, size)
    return x


def voxel_coordinates(matrices: torch.Tensor, patch_size: Sequence[int], initial: Sequence[int]) -> list[torch.Tensor]:
    """Where each output voxel looks, in voxels of the input: one tensor (n, *patch) an axis.

    Args:
        matrices: (n, d, d), as of `affine_matrix`.
        patch_size: of the output.
        initial: shape of the input; the centres of both coincide.
    """
    d = len(patch_size)
    axes = [torch.linspace((1 - n) / 2, (n - 1) / 2, n, device=matrices.device) for n in patch_size]
    spread = [axis.view([-1 if i == k else 1 for i in range(d)]) for k, axis in enumerate(axes)]
    coordinates = []
    for row in range(d):
        total = torch.tensor((initial[row] - 1) / 2, device=matrices.device)
        for column in range(d):
            total = total + matrices[:, row, column].view(-1, *[1] * d) * spread[column]
        coordinates.append(total)
    return coordinates


def sample_image(x: torch.Tensor, matrices: torch.Tensor, patch_size: Sequence[int], order: int) -> torch.Tensor:
    """Linear (1) or nearest (0) sampling of (n, c, *initial) where `voxel_coordinates` say; 0 outside."""
    # grid_sample and affine_grid count from -1 to 1, from edge to edge, the last axis first.
    ratio = torch.tensor([[p / n for p in patch_size] for n in x.shape[2:]], device=x.device)
    theta = pad((matrices * ratio).flip(1, 2), [0, 1])
    grid = affine_grid(theta, [len(x), 1, *patch_size], align_corners=False)
    return grid_sample(x, grid, mode="bilinear" if order else "nearest", padding_mode="zeros", align_corners=False)


def _where_labels_meet(padded: torch.Tensor) -> torch.Tensor:
    """Whether the 2×2(×2) voxels that begin at each place of (n, *size) hold more than one label; False in each axis' last row."""
    low = high = padded
    for axis in range(1, padded.ndim):
        count = padded.shape[axis] - 1
        low = torch.minimum(low.narrow(axis, 0, count), low.narrow(axis, 1, count))
        high = torch.maximum(high.narrow(axis, 0, count), high.narrow(axis, 1, count))
    return pad(low != high, [0, 1] * (padded.ndim - 1))


def _flat_index(coordinates: Sequence[torch.Tensor], strides: Sequence[int]) -> torch.Tensor:
    """Whole-numbered coordinates as one index into the flattened volume."""
    index = coordinates[-1].int()
    for coordinate, stride in zip(coordinates[:-1], strides[:-1], strict=True):
        index.add_(coordinate.int(), alpha=stride)
    return index.long()


def sample_segmentation(seg: torch.Tensor, coordinates: Sequence[torch.Tensor], order: int) -> torch.Tensor:
    """Sample labels (n, c, *initial) at voxel coordinates, one tensor (n, *patch) an axis; -1 outside.

    With order 1 a voxel gets the label of the largest total weight among its 2×2(×2) neighbours; a tie goes to the nearest
    neighbour's label when it is among the tied ones, else to the lowest. Like nnU-Net's, weights are compared in float16 after
    scaling by 1000, which makes near ties exact ones. Only where neighbours differ is anything computed at all.
    """
    d = len(coordinates)
    # Two voxels of padding: whatever is further out looks the same, so coordinates can be clamped to the first of them.
    padded = pad(seg, [2] * (2 * d), value=OUTSIDE)
    shape = padded.shape[2:]
    limited = [(c + 2).clamp_(0.5, size + 2.5) for c, size in zip(coordinates, seg.shape[2:], strict=True)]
    strides = [math.prod(shape[axis + 1 :]) for axis in range(d)]
    floors = [c.floor() for c in limited] if order else [c.round() for c in limited]
    # One index into all samples of a channel, as one flat list.
    volumes = torch.arange(len(seg), device=seg.device).view(-1, *[1] * d) * math.prod(shape)
    corner = (_flat_index(floors, strides) + volumes).flatten()
    outputs = []
    for channel in range(seg.shape[1]):
        volume = padded[:, channel].contiguous()
        labels = volume.flatten()
        out = labels.index_select(0, corner)
        if order:
            place = _where_labels_meet(volume).flatten().index_select(0, corner).nonzero().squeeze(1)
            if len(place):
                _settle(out, place, labels, corner, [c.flatten() for c in limited], strides)
        outputs.append(out.view(coordinates[0].shape))
    return torch.stack(outputs, dim=1)


def _settle(
    out: torch.Tensor,
    place: torch.Tensor,
    labels: torch.Tensor,
    corner: torch.Tensor,
    coordinates: Sequence[torch.Tensor],
    strides: Sequence[int],
) -> None:
    """Write into `out`, at the indices `place`, the label of the largest weight; `corner` is the lowest neighbour's index."""
    here = [c.index_select(0, place) for c in coordinates]
    first = corner.index_select(0, place)
    parts = [c - c.floor() for c in here]
    around, weights = [], []
    for offsets in np.ndindex(*[2] * len(strides)):
        shift = sum(o * stride for o, stride in zip(offsets, strides, strict=True))
        around.append(labels.index_select(0, first + shift))
        weights.append(math.prod(part if o else 1 - part for o, part in zip(offsets, parts, strict=True)))
    steps = [(c.round() - c.floor()).long() * stride for c, stride in zip(here, strides, strict=True)]
    nearest = labels.index_select(0, sum(steps, start=first))
    out.index_copy_(0, place, _majority(torch.stack(around), torch.stack(weights), nearest))


def _majority(labels: torch.Tensor, weights: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """The label of the largest total weight: `labels`, `weights` (corners, m), `nearest` (m,)."""
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
