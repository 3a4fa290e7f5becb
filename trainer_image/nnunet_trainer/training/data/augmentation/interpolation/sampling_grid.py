"""Where the voxels of a patch that is rotated, scaled and deformed about its centre look in what was cut out for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

MARGIN = 2
"""Padding of a volume that is sampled: of what lies further out, all neighbours are padding as well."""


def centre_crop(x: torch.Tensor, patch_size: Sequence[int]) -> torch.Tensor:
    """The middle of the last axes: a view."""
    for axis, size in enumerate(patch_size, start=x.ndim - len(patch_size)):
        x = x.narrow(axis, x.shape[axis] // 2 - size // 2, size)
    return x


def strides_of(shape: Sequence[int]) -> list[int]:
    """Of a contiguous volume's axes, in voxels."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


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
        """Of the flattened padded volume: what to add to `corner` for the next neighbour along each axis."""
        return strides_of(self.shape)

    def part(self, some: slice) -> SamplingGrid:
        """Of some of the output voxels, counted over all volumes."""
        return replace(self, coordinates=[c.flatten()[some] for c in self.coordinates], corner=self.corner[some])


def places(
    matrices: torch.Tensor,
    patch_size: Sequence[int],
    initial: Sequence[int],
    moved: torch.Tensor | None = None,
    part: tuple[Sequence[int], Sequence[int]] | None = None,
    slab: slice = slice(None),
) -> SamplingGrid:
    """Rotate and scale a patch's voxels about the centre of what was cut out for it.

    Args:
        matrices: (n, d, d), as of `spatial_placement.affine_matrix`.
        patch_size: of the output.
        initial: of the input.
        moved: (n, d, *patch): how far each voxel is moved before it is rotated and scaled, in voxels.
        part: first voxel and size of the part of the input that is there; nothing else may be looked at.
        slab: of the patch's first axis; only its voxels are placed.
    """
    d, n = len(patch_size), len(matrices)
    # Axes first in memory too: else each axis' coordinates of several volumes would lie apart, and be copied to be flattened.
    rows, total = matrices.transpose(0, 1).contiguous().unsqueeze(-1), None
    for axis, edge in enumerate(patch_size):
        along = torch.linspace((1 - edge) / 2, (edge - 1) / 2, edge, device=matrices.device)
        along = along[slab] if axis == 0 else along
        share = (rows[:, :, axis] * along).view(d, n, *(-1 if i == axis else 1 for i in range(d)))
        if total is None:
            total = share
            for coordinate, size in zip(total.unbind(), initial, strict=True):
                coordinate.add_((size - 1) / 2 + MARGIN)
        else:  # the last axis last: all but one sum are over less than the patch
            total = share + total
    assert total is not None
    coordinates = list(total.unbind())
    for row, (coordinate, size) in enumerate(zip(coordinates, initial, strict=True)):
        if moved is not None:
            coordinate.add_(torch.einsum("nc,nc...->n...", matrices[:, row], moved[:, :, slab]))
        coordinate.clamp_(0.5, size + 2 * MARGIN - 1.5)
    start, present = part or ([0] * d, initial)
    for coordinate, first in zip(coordinates, start, strict=True):
        if first:
            coordinate.sub_(first)  # exact: a whole number that is not above it
    shape = tuple(size + 2 * MARGIN for size in present)
    volume = math.prod(shape)
    counted = torch.int32 if n * volume < 2**31 else torch.int64  # the narrower one is gathered by in half of the time
    index = coordinates[-1].to(counted)
    for coordinate, stride in zip(coordinates[:-1], strides_of(shape)[:-1], strict=True):
        index.add_(coordinate.to(counted), alpha=stride)
    if n > 1:
        index.add_(torch.arange(n, device=matrices.device, dtype=counted).view(-1, *[1] * d) * volume)
    return SamplingGrid(coordinates, shape, index.flatten())
