"""The one loop over tiles. Planes that no further tile reaches are finished, and handed on before the rest is predicted."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from nnunet_trainer.contract.control_groups import memory_limit
from nnunet_trainer.contract.faults import GpuOutOfMemory, means_gpu_out_of_memory

from ..precision import autocast
from .batch import automatic_batch, means_out_of_memory, sums_device
from .window import SlidingWindow, axis_weights

PIECES = 32
"""Finished planes are handed on in pieces that take one part in so many of the memory: whoever takes them holds some at once."""
T = TypeVar("T")
Network = Callable[[torch.Tensor], torch.Tensor]
TilesHook = Callable[[int, int], None]
"""Called before each batch of tiles with how many are done and of how many; what it raises ends the prediction."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Slab:
    """Finished planes of an image: `values` is float32 (channels, planes, y, x) on the CPU, and its first plane is `start`."""

    start: int
    values: torch.Tensor


@torch.no_grad()
def finished_slabs(
    network: Network,
    image: torch.Tensor,
    channels: int,
    window: SlidingWindow,
    device: torch.device | str = "cpu",
    on_tiles: TilesHook | None = None,
    *,
    whole: bool = False,
) -> Iterator[Slab]:
    """The network's output of an image, plane after plane along z.

    Sums are float32, on the GPU where they fit, else in main memory. A batch that does not fit is halved, and what was done
    before stays.

    Args:
        network: tiles (b, c, *patch) to outputs (b, channels, *patch), in evaluation mode and on `device`; a list of outputs (deep
            supervision) counts by its first.
        image: preprocessed, (c, z, y, x) float32, finite, on the CPU.
        channels: of the output.
        window: how to tile.
        device: where the network is.
        on_tiles: hears how far it is.
        whole: hold the sums of the whole image, and give it as one slab; else no more planes than a tile has are held.

    Raises:
        GpuOutOfMemory: not even one tile fits.
        MemoryError: the same, in main memory.
    """
    device, tile = torch.device(device), window.tile
    padding = [max(0, t - n) for t, n in zip(tile, image.shape[1:], strict=True)]
    if any(padding):
        both = [(p // 2, p - p // 2) for p in padding]
        image = torch.nn.functional.pad(image, [n for pair in reversed(both) for n in pair])
    size = tuple(image.shape[1:])
    inside = [slice(p // 2, n - (p - p // 2)) for p, n in zip(padding, size, strict=True)]
    depth = size[0] if whole else tile[0]
    sums_on = sums_device(2 * channels * depth * math.prod(size[1:]) + image.numel(), device)
    image = image.to(sums_on)
    sums = torch.zeros((channels, depth, *size[1:]), dtype=torch.float32, device=sums_on)
    starts = window.starts(size)
    along = [torch.from_numpy(axis_weights(n, window.gaussian)).float() for n in tile]
    weight = (along[0][:, None, None] * along[1][:, None] * along[2]).to(sums_on)
    totals = [_total(*each) for each in zip(size, tile, starts, along, strict=True)]
    batch, flips = window.batch or automatic_batch(window, device, channels), window.flips
    places, done, first = list(itertools.product(*starts)), 0, 0
    most = max(1, memory_limit() // PIECES // (4 * channels * math.prod(size[1:])))

    def finished(planes: slice, *, last: bool) -> Slab:
        """The mean of planes that are held, without padding."""
        part = sums[:, planes.start - first : planes.stop - first]
        # Tiles form a grid and their weights are products, so the total weight is one too: one factor an axis.
        for axis, total in enumerate([totals[0][planes], *totals[1:]], start=1):
            part.div_(total.to(part.device).view([-1 if i == axis else 1 for i in range(4)]))
        part = part[(slice(None), inside[0] if padding[0] else slice(None), *inside[1:])]
        return Slab(planes.start, part.cpu() if last or part.is_cuda else part.clone())

    def pieces(stop: int) -> Iterator[slice]:
        """Planes from the first that is held on."""
        step = stop - first if whole or padding[0] else most
        return (slice(start, min(start + step, stop)) for start in range(first, stop, step))

    while done < len(places):
        if on_tiles:
            on_tiles(done, len(places))
        group = places[done : done + max(1, batch // len(flips))]
        tiles = torch.stack([image[_place(start, tile)] for start in group]).to(device, non_blocking=True)
        room = True
        try:
            with autocast(window.precision, device):
                outputs = _mirrored(network, tiles[:, :, 0] if len(window.patch_size) == 2 else tiles, flips, batch)
            outputs = outputs.to(sums.device, torch.float32)
        except RuntimeError as error:
            if not means_out_of_memory(error):
                raise
            if batch == 1 and sums.device.type == "cpu":
                raise _no_room(window, error) from error
            room = False
        del tiles
        if not room:  # what the error's frames held of the batch went with it
            if sums.device.type == "cpu":
                batch = max(1, batch // 2)
            else:
                sums, image, weight = sums.cpu(), image.cpu(), weight.cpu()
            log.warning("out of memory: going on with batches of %d, sums on %s", batch, sums.device.type)
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        done += len(group)
        for i, start in enumerate(group):
            if start[0] > first and not whole:
                for planes in pieces(start[0]):
                    yield finished(planes, last=False)
                _move_up(sums, start[0] - first)
                first = start[0]
            z, *yx = start
            sums[_place((z - first, *yx), tile)].addcmul_(outputs[i, :, None] if outputs.ndim == 4 else outputs[i], weight)
        del outputs  # before the next ones are made
    for planes in pieces(size[0]):
        yield finished(planes, last=True)


def _place(start: Sequence[int], tile: Sequence[int]) -> tuple[slice, ...]:
    return (slice(None), *[slice(s, s + n) for s, n in zip(start, tile, strict=True)])


def _total(size: int, tile: int, starts: Sequence[int], weights: torch.Tensor) -> torch.Tensor:
    """The sum of the weights of all tiles, along one axis."""
    total = torch.zeros(size)
    for start in starts:
        total[start : start + tile] += weights
    return total


def _move_up(sums: torch.Tensor, planes: int) -> None:
    """Forget the first planes; those that follow take their place, and zeros the place of these."""
    depth = sums.shape[1]
    for start in range(0, depth - planes, planes):
        many = min(planes, depth - planes - start)
        sums[:, start : start + many] = sums[:, start + planes : start + planes + many]
    sums[:, max(0, depth - planes) :] = 0


def _no_room(window: SlidingWindow, error: RuntimeError) -> Exception:
    patch = "×".join(map(str, window.patch_size))
    if not means_gpu_out_of_memory(error):
        return MemoryError(f"Predicting one tile of {patch} needs more memory than there is.")
    message = f"Predicting one tile of {patch} needs more memory than this GPU has free."
    return GpuOutOfMemory("OutOfGPUMemory", message, hint="Use a larger GPU, or predict on the CPU.")


def _mirrored(network: Network, tiles: torch.Tensor, flips: Sequence[tuple[int, ...]], batch: int) -> torch.Tensor:
    """Mean output (b, channels, *patch) over the mirrored copies of tiles (b, c, *patch), about `batch` of them at a time."""
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
