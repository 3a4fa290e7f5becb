"""The images, or labels, of a batch while it is augmented: one tensor on a GPU; on a CPU each channel for itself.

Channels count over all samples: those of the first one, of the second one …
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from nnunet_trainer.training.data.batch import Allocate

Function = Callable[[torch.Tensor], torch.Tensor]
Mirrored = Sequence[tuple[tuple[int, ...], torch.Tensor]]
"""Axes of the patch, with the places of the samples that are flipped along them."""


class Channels(Protocol):
    """Of b samples, c each."""

    def write(self, rows: torch.Tensor, values: torch.Tensor, axis: int, slab: slice) -> None:
        """A slab, along an axis of (b, c, *patch), of some samples (n,), from as many values of any shape."""

    def change_samples(self, rows: torch.Tensor, function: Function) -> None:
        """Some samples become what a function makes of (n, channels, *patch), which it leaves alone."""

    def change_channels(self, places: Sequence[int], rows: torch.Tensor, function: Function) -> None:
        """Some channels become what a function makes of (n, *patch), in place or not; their places are given in both ways."""

    def mirrored(self, flips: Mirrored, layout: torch.memory_format, allocate: Allocate) -> torch.Tensor:
        """All of them (b, c, *patch), some flipped; on a CPU in memory from `allocate`, in a layout."""


def channels_of(x: torch.Tensor, rows: Sequence[int], places: torch.Tensor, samples: int) -> Channels:
    """Those that are there, and room for the others.

    Args:
        x: (n, c, *patch) of some samples; it may be changed.
        rows: places of these samples.
        places: the same, on the device.
        samples: b.
    """
    if x.device.type == "cpu":
        found: list[torch.Tensor | None] = [None] * (samples * x.shape[1])
        for row, sample in zip(rows, x.unbind(), strict=True):
            found[row * x.shape[1] : (row + 1) * x.shape[1]] = sample.unbind()
        return SeparateChannels(found, (samples, *x.shape[1:]), x)
    if len(rows) == samples:
        return TogetherChannels(x)
    return TogetherChannels(x.new_empty(samples, *x.shape[1:]).index_copy_(0, places, x))


class TogetherChannels:
    """One tensor."""

    def __init__(self, whole: torch.Tensor) -> None:
        self.whole = whole

    def write(self, rows: torch.Tensor, values: torch.Tensor, axis: int, slab: slice) -> None:
        target = self.whole.narrow(axis, slab.start, slab.stop - slab.start)
        target.index_copy_(0, rows, values.view(-1, *target.shape[1:]))

    def change_samples(self, rows: torch.Tensor, function: Function) -> None:
        self.whole.index_copy_(0, rows, function(self.whole.index_select(0, rows)))

    def change_channels(self, places: Sequence[int], rows: torch.Tensor, function: Function) -> None:
        TogetherChannels(self.whole.flatten(0, 1)).change_samples(rows, function)

    def mirrored(self, flips: Mirrored, layout: torch.memory_format, allocate: Allocate) -> torch.Tensor:
        for axes, rows in flips:
            self.change_samples(rows, lambda x, axes=axes: x.flip([axis + 2 for axis in axes]))  # type: ignore[misc]
        return self.whole


class SeparateChannels:
    """A tensor each: what replaces one is not copied."""

    def __init__(self, channels: list[torch.Tensor | None], shape: tuple[int, ...], like: torch.Tensor) -> None:
        self.channels, self.shape, self.like = channels, shape, like

    def write(self, rows: torch.Tensor, values: torch.Tensor, axis: int, slab: slice) -> None:
        part = list(self.shape)
        part[axis] = slab.stop - slab.start
        for place, value in zip(self._of_samples(rows), values.view(-1, *part[2:]).unbind(), strict=True):
            if part == list(self.shape):
                self.channels[place] = value
                continue
            if slab.start == 0:
                self.channels[place] = self.like.new_empty(self.shape[2:])
            self[place].narrow(axis - 2, slab.start, part[axis]).copy_(value)

    def change_samples(self, rows: torch.Tensor, function: Function) -> None:
        for place in self._of_samples(rows):
            self.channels[place] = function(self[place][None, None])[0, 0].contiguous()

    def change_channels(self, places: Sequence[int], rows: torch.Tensor, function: Function) -> None:
        chosen = self[places[0]].unsqueeze(0) if len(places) == 1 else torch.stack([self[place] for place in places])
        for place, value in zip(places, function(chosen).unbind(), strict=True):
            self.channels[place] = value

    def mirrored(self, flips: Mirrored, layout: torch.memory_format, allocate: Allocate) -> torch.Tensor:
        samples, count, *patch = self.shape
        last = layout != torch.contiguous_format
        memory = allocate((samples, *patch, count) if last else self.shape, self.like.numpy().dtype)
        found = np.moveaxis(memory, -1, 1) if last else memory
        axes = {place: along for along, rows in flips for place in self._of_samples(rows)}
        for place in range(samples * count):
            along, channel = axes.get(place, ()), self[place]
            # torch turns lines round in a part of numpy's time, numpy copies them in any order in a part of torch's.
            lines = channel.flip(-1) if len(patch) - 1 in along else channel
            order = tuple(slice(None, None, -1 if axis in along else 1) for axis in range(len(patch) - 1))
            found[divmod(place, count)] = lines.numpy()[order]
        return torch.from_numpy(memory).movedim(-1, 1) if last else torch.from_numpy(memory)

    def __getitem__(self, place: int) -> torch.Tensor:
        found = self.channels[place]
        assert found is not None
        return found

    def _of_samples(self, rows: torch.Tensor) -> list[int]:
        """The places of samples' channels."""
        count = self.shape[1]
        return [row * count + channel for row in rows.tolist() for channel in range(count)]
