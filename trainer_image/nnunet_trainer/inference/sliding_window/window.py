"""How an image is tiled: where tiles are, and what each voxel of one weighs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_trainer.contract.precision import PrecisionName

FEATURES = 32
"""Channels at full resolution, of nnU-Net's default networks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlidingWindow:
    """How an image is tiled.

    Attributes:
        patch_size: of a tile, 3 axes, or 2 for slice by slice.
        step: how far tiles are apart at most, as a fraction of the tile.
        mirror_axes: spatial axes (0 is the tile's first); every combination is averaged. Empty: none.
        gaussian: weigh the centre of a tile more than its border (σ = ⅛ of the tile).
        batch: tiles and mirrored copies of tiles that go through the network together; None: as many as help, by the device.
        features: channels of the network's widest feature maps, those at full resolution.
        precision: number format of the network.
    """

    patch_size: tuple[int, ...]
    step: float = 0.5
    mirror_axes: tuple[int, ...] = ()
    gaussian: bool = True
    batch: int | None = None
    features: int = FEATURES
    precision: PrecisionName = "auto"

    @property
    def flips(self) -> list[tuple[int, ...]]:
        """Every combination of axes to flip, beginning with none."""
        axes = self.mirror_axes
        return [combination for count in range(len(axes) + 1) for combination in itertools.combinations(axes, count)]

    @property
    def tile(self) -> tuple[int, ...]:
        """Of a tile along z, y, x; one plane where the patch has two axes."""
        return (1, *self.patch_size) if len(self.patch_size) == 2 else self.patch_size

    def starts(self, size: tuple[int, ...]) -> list[list[int]]:
        """First voxels of the tiles along z, y, x of an image that is no smaller than a tile."""
        along = [tile_starts(n, t, self.step) for n, t in zip(size, self.tile, strict=True)]
        return [list(range(size[0])), *along[1:]] if len(self.patch_size) == 2 else along

    def tiles(self, size: Sequence[int]) -> int:
        """How many tiles an image (z, y, x) of any size has."""
        return math.prod(len(along) for along in self.starts(tuple(max(n, t) for n, t in zip(size, self.tile, strict=True))))


def tile_starts(size: int, tile: int, step: float) -> list[int]:
    """First voxels of the tiles along an axis: evenly spread, no further apart than `step` tiles."""
    count = math.ceil((size - tile) / (tile * step)) + 1
    if count < 2:
        return [0]
    return [int(np.round((size - tile) / (count - 1) * i)) for i in range(count)]


def axis_weights(tile: int, gaussian: bool) -> np.ndarray:
    """A tile's weights along one axis, 1 at most; a tile's weight is their product."""
    if not gaussian:
        return np.ones(tile)
    from scipy.ndimage import gaussian_filter1d  # not where nothing is predicted: its import takes a tenth of torch's

    impulse = np.zeros(tile)
    impulse[tile // 2] = 1
    weights = gaussian_filter1d(impulse, tile / 8, mode="constant")
    weights /= weights.max()
    return np.maximum(weights, weights[weights > 0].min())
