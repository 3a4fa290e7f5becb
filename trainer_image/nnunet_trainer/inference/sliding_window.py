"""Prediction of an image of any size, tile by tile as nnU-Net does: tiles overlap, Gaussian weights, mirrored copies averaged."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from nnunet_trainer.contract.faults import BadConfiguration, GpuOutOfMemory, means_gpu_out_of_memory
from nnunet_trainer.contract.limits import memory_limit

from .precision import PrecisionName, autocast, resolved

T = TypeVar("T")
FEATURES = 32
"""At full resolution, of nnU-Net's default networks."""
Network = Callable[[torch.Tensor], torch.Tensor]

LIVE_MAPS = 6
"""Feature maps at full resolution that are in memory at once, about: input, convolution, norm, the skip connection and its copy."""
CPU_VOXELS = 2**18
GPU_VOXELS = 2**21
MOST_TOGETHER = 64

log = logging.getLogger(__name__)


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

    Sums are float32, on the GPU where they fit, else in main memory; a batch that does not fit is halved.

    Args:
        network: tiles (b, c, *patch) to logits (b, heads, *patch), in evaluation mode and on `device`; a list of outputs (deep
            supervision) counts by its first.
        image: preprocessed, (c, z, y, x) float32, finite, on the CPU.
        heads: `LabelManager.num_segmentation_heads`.
        window: how to tile.
        device: where the network is.
        check: called before each batch of tiles; what it raises ends the prediction.

    Returns:
        float32 (heads, z, y, x) on the CPU.

    Raises:
        GpuOutOfMemory: not even one tile fits.
        BadConfiguration: what the network says of a finite image is no number (`LogitsNotFinite`).
    """
    device = torch.device(device)
    sums_on = _sums_device(image, heads, device)
    batch = window.batch or automatic_batch(window, device)
    while True:
        try:
            logits = _predict(network, image, heads, window, batch, device, sums_on, check)
            _require_numbers(logits, window.precision, device)
            return logits
        except RuntimeError as error:
            if not means_gpu_out_of_memory(error):
                raise
            if batch == 1 and sums_on.type == "cpu":
                patch = "×".join(map(str, window.patch_size))
                message = f"Predicting one tile of {patch} needs more memory than this GPU has free."
                raise GpuOutOfMemory("OutOfGPUMemory", message, hint="Use a larger GPU, or predict on the CPU.") from error
            sums_on, batch = (torch.device("cpu"), batch) if sums_on.type != "cpu" else (sums_on, max(1, batch // 2))
            log.warning("out of GPU memory: going on with batches of %d, sums on %s", batch, sums_on.type)
        torch.cuda.empty_cache()


def widest_features(architecture: Mapping[str, Any]) -> int:
    """Channels of a network's feature maps at full resolution; a guess where its `arch_kwargs` do not say."""
    features = architecture.get("arch_kwargs", {}).get("features_per_stage", FEATURES)
    return int(features[0] if isinstance(features, Sequence) else features)


def automatic_batch(window: SlidingWindow, device: torch.device) -> int:
    """Tiles and mirrored copies that go through the network together.

    On a CPU, torch computes small convolutions of one image several times slower than of two; beyond some 10^5 voxels more
    bring nothing. A GPU is filled by all copies of a tile, or of several small ones, as far as its memory allows.
    """
    voxels = math.prod(window.patch_size)
    copy = LIVE_MAPS * window.features * voxels * (4 if device.type == "cpu" else 2)
    if device.type == "cpu":
        wanted, room = max(2, CPU_VOXELS // voxels), memory_limit() / 4
    elif device.type == "cuda":
        wanted, room = len(window.flips) * max(1, GPU_VOXELS // voxels), torch.cuda.mem_get_info(device)[0] / 2
    else:
        return 1
    return int(max(1, min(wanted, MOST_TOGETHER, room // copy)))


def _require_numbers(logits: torch.Tensor, precision: PrecisionName, device: torch.device) -> None:
    """Raise when a logit is NaN or infinite: argmax would take it for a class, mostly the background."""
    least, most = torch.aminmax(logits) if logits.numel() else (torch.zeros(()), torch.zeros(()))
    if torch.isfinite(least) and torch.isfinite(most):
        return
    count = sum(int((~torch.isfinite(head)).sum()) for head in logits)
    name = resolved(precision, device)
    message = f"The network's output is NaN or infinite at {count} of {logits.numel()} values, in {name}; the image is finite."
    hint = "Is a weight of the checkpoint NaN (a training that diverged)? Then use an earlier checkpoint (checkpoint_best.pth)."
    if name == "fp16":
        hint = f"fp16 overflows above 65504: predict in another precision (--precision bf16 or fp32). {hint}"
    raise BadConfiguration("LogitsNotFinite", message, hint=hint)


@contextmanager
def about_case(case: str) -> Iterator[None]:
    """Faults of the network's output name the case."""
    try:
        yield
    except BadConfiguration as fault:
        raise BadConfiguration(fault.reason, f"{case}: {fault.message}", hint=fault.hint, findings=fault.findings) from fault


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
    flips = window.flips
    for group in _groups(itertools.product(*starts), max(1, batch // len(flips))):
        if check:
            check()
        places = [(slice(None), *[slice(s, s + n) for s, n in zip(start, tile, strict=True)]) for start in group]
        tiles = torch.stack([image[place] for place in places]).to(device, non_blocking=True)
        with autocast(window.precision, device):
            logits = _mirrored(network, tiles[:, :, 0] if flat else tiles, flips, batch)
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


def _mirrored(network: Network, tiles: torch.Tensor, flips: Sequence[tuple[int, ...]], batch: int) -> torch.Tensor:
    """Mean logits (b, heads, *patch) over the mirrored copies of tiles (b, c, *patch), at most about `batch` of them at a time."""
    total: torch.Tensor | None = None
    for some in _groups(iter(flips), max(1, batch // len(tiles))):
        axes = [[axis + 2 for axis in flip] for flip in some]
        copies = [tiles.flip(each) if each else tiles for each in axes]
        out = network(torch.cat(copies) if len(copies) > 1 else copies[0])
        out = out[0] if isinstance(out, (list, tuple)) else out
        for each, copy in zip(axes, out.split(len(tiles)), strict=True):
            copy = copy.flip(each) if each else copy
            total = copy if total is None else total + copy
    assert total is not None
    return total / len(flips)


def _groups(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while group := list(itertools.islice(items, size)):
        yield group
