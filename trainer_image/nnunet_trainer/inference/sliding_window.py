"""Prediction of an image of any size, tile by tile as nnU-Net does: tiles overlap, Gaussian weights, mirrored copies averaged."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from nnunet_trainer.contract.faults import GpuOutOfMemory

Network = Callable[[torch.Tensor], torch.Tensor]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlidingWindow:
    """How an image is tiled.

    Attributes:
        patch_size: of a tile, 3 axes, or 2 for slice by slice.
        step: how far tiles are apart at most, as a fraction of the tile.
        mirror_axes: spatial axes (0 is the tile's first); every combination is averaged. Empty: none.
        gaussian: weigh the centre of a tile more than its border (σ = ⅛ of the tile).
        tile_batch: tiles that go through the network together.
    """

    patch_size: tuple[int, ...]
    step: float = 0.5
    mirror_axes: tuple[int, ...] = ()
    gaussian: bool = True
    tile_batch: int = 1

    @property
    def flips(self) -> list[tuple[int, ...]]:
        """Every combination of axes to flip, beginning with none."""
        axes = self.mirror_axes
        return [combination for count in range(len(axes) + 1) for combination in itertools.combinations(axes, count)]


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
    impulse = np.zeros(tile)
    impulse[tile // 2] = 1
    weights = gaussian_filter1d(impulse, tile / 8, mode="constant")
    weights /= weights.max()
    return np.maximum(weights, weights[weights > 0].min())


@torch.no_grad()
def predict_logits(
    network: Network,
    image: torch.Tensor,
    heads: int,
    window: SlidingWindow,
    device: torch.device | str = "cpu",
    check: Callable[[], None] | None = None,
) -> torch.Tensor:
    """Logits of a whole image.

    Sums are float32, on the GPU where they fit, else in main memory; a batch of tiles that does not fit is halved.

    Args:
        network: tiles (b, c, *patch) to logits (b, heads, *patch), in evaluation mode and on `device`; a list of outputs (deep
            supervision) counts by its first.
        image: preprocessed, (c, z, y, x) float32, on the CPU.
        heads: `LabelManager.num_segmentation_heads`.
        window: how to tile.
        device: where the network is.
        check: called before each batch of tiles; what it raises ends the prediction.

    Returns:
        float32 (heads, z, y, x) on the CPU.

    Raises:
        GpuOutOfMemory: not even one tile fits.
    """
    device = torch.device(device)
    batch, sums_on = window.tile_batch, _sums_device(image, heads, device)
    while True:
        try:
            return _predict(network, image, heads, window, batch, device, sums_on, check)
        except torch.OutOfMemoryError as error:
            if batch == 1 and sums_on.type == "cpu":
                patch = "×".join(map(str, window.patch_size))
                message = f"Predicting one tile of {patch} needs more memory than this GPU has free."
                raise GpuOutOfMemory("OutOfGPUMemory", message, hint="Use a larger GPU, or predict on the CPU.") from error
            sums_on, batch = (torch.device("cpu"), batch) if sums_on.type != "cpu" else (sums_on, max(1, batch // 2))
            log.warning("out of GPU memory: going on with %d tiles at a time, sums on %s", batch, sums_on.type)
        torch.cuda.empty_cache()


def _sums_device(image: torch.Tensor, heads: int, device: torch.device) -> torch.device:
    """The GPU when logits and image fit into half of what is free there."""
    if device.type != "cuda":
        return torch.device("cpu")
    needed = 4 * (2 * heads + image.shape[0]) * math.prod(image.shape[1:])
    return device if needed < torch.cuda.mem_get_info(device)[0] / 2 else torch.device("cpu")


def _predict(
    network: Network,
    image: torch.Tensor,
    heads: int,
    window: SlidingWindow,
    batch: int,
    device: torch.device,
    sums_on: torch.device,
    check: Callable[[], None] | None,
) -> torch.Tensor:
    patch = window.patch_size
    flat = len(patch) == 2
    tile = (1, *patch) if flat else patch
    padding = [max(0, t - n) for t, n in zip(tile, image.shape[1:], strict=True)]
    if any(padding):
        both = [(p // 2, p - p // 2) for p in padding]
        image = torch.nn.functional.pad(image, [n for pair in reversed(both) for n in pair])
    size = tuple(image.shape[1:])
    image = image.to(sums_on)
    sums = torch.zeros((heads, *size), dtype=torch.float32, device=sums_on)
    starts = [
        list(range(size[0])) if flat and i == 0 else tile_starts(n, t, window.step)
        for i, (n, t) in enumerate(zip(size, tile, strict=True))
    ]
    along = [torch.from_numpy(axis_weights(n, window.gaussian)).float() for n in tile]
    weight = (along[0][:, None, None] * along[1][:, None] * along[2]).to(sums_on)
    with torch.autocast(device.type, enabled=device.type == "cuda"):
        for group in _groups(itertools.product(*starts), batch):
            if check:
                check()
            places = [(slice(None), *[slice(s, s + n) for s, n in zip(start, tile, strict=True)]) for start in group]
            tiles = torch.stack([image[place] for place in places]).to(device, non_blocking=True)
            logits = _mirrored(network, tiles[:, :, 0] if flat else tiles, window.flips)
            logits = logits.to(sums_on, torch.float32)
            for place, one in zip(places, logits, strict=True):
                sums[place].addcmul_(one[:, None] if flat else one, weight)
    # Tiles form a grid and their weights are products, so the total weight is one too: one factor an axis.
    for axis, (n, t, first, weights) in enumerate(zip(size, tile, starts, along, strict=True), start=1):
        total = torch.zeros(n)
        for start in first:
            total[start : start + t] += weights
        sums.div_(total.to(sums_on).view([-1 if i == axis else 1 for i in range(4)]))
    inside = [slice(p // 2, n - (p - p // 2)) for p, n in zip(padding, size, strict=True)]
    return sums[(slice(None), *inside)].cpu()


def _mirrored(network: Network, tiles: torch.Tensor, flips: Sequence[tuple[int, ...]]) -> torch.Tensor:
    total: torch.Tensor | None = None
    for flip in flips:
        axes = [axis + 2 for axis in flip]
        out = network(tiles.flip(axes) if axes else tiles)
        out = out[0] if isinstance(out, (list, tuple)) else out
        out = out.flip(axes) if axes else out
        total = out if total is None else total + out
    assert total is not None
    return total / len(flips)


def _groups(items: Iterator[tuple[int, ...]], size: int) -> Iterator[list[tuple[int, ...]]]:
    while group := list(itertools.islice(items, size)):
        yield group
