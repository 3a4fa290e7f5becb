"""Segmentation of images whose logits do not fit in memory: planes are resampled and segmented as soon as they are predicted.

With fewer features than labels it is the network's finest features that are averaged over tiles and copies, and resampled linearly:
the segmentation layer is linear, so that it may come last. That takes a part of the memory, is faster, and changes rounding alone:
some 1e-6 of the greatest logit in fp32, 1e-3 in fp16 and 1e-2 in bf16, as much as those formats round. (The layer and what it
makes are float32 here, which is no further from fp32 than the whole is.) Otherwise the logits are those of the whole image, bit by
bit; those of many folds that would not fit are made of features too, where that takes less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nnunet_trainer.architecture.unet import UNet
from nnunet_trainer.contract.control_groups import memory_limit
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.plans import Configuration, Plans
from nnunet_trainer.preprocessing.case import revert_parts, segmentation_type
from nnunet_trainer.preprocessing.resampling.by_slabs import Part

from .export import greatest_heads, segmentation_of_heads
from .sliding_window import DIVERGED, SlidingWindow, TilesHook, finished_slabs, require_numbers
from .tile_progress import summed

SHARE = 4
"""Logits that take more than one part in so many of the memory never are there as a whole: their export takes memory beside."""
PROBABILITIES = 3
"""Arrays of the image's shape that their export holds at once: resampled logits, probabilities, these where the image lies."""
LOGITS = 1 << 18
"""Logits that are made of features at once: they stay in a core's own cache."""


def logits_fit(heads: int, shape: Sequence[int]) -> bool:
    """Whether the logits of an image of a preprocessed shape (z, y, x) may be in memory as a whole."""
    return 4 * heads * math.prod(shape) <= memory_limit() // SHARE


def require_room_for_probabilities(heads: int, shape: Sequence[int], properties: dict[str, Any]) -> None:
    """Probabilities are made, turned and packed as a whole.

    Args:
        heads: of the network.
        shape: of the preprocessed image (z, y, x).
        properties: of preprocessing.

    Raises:
        BadData: they do not fit in memory.
    """
    there = [int(size) for size in properties["shape_before_cropping"]]
    needed, limit = 4 * heads * (math.prod(shape) + PROBABILITIES * math.prod(there)), memory_limit()
    if needed > limit:
        message = f"The probabilities of {heads} classes at {_by(there)} voxels take {_gib(needed)}; {_gib(limit)} are there."
        raise BadData("InvalidCases", message, hint="Predict large images without --save-probabilities.")


@dataclass(frozen=True, slots=True)
class Goal:
    """A segmentation to be made: its shape (z, y, x), and how a head is resampled to it, part by part."""

    shape: tuple[int, ...]
    parts: list[Part]


def goal(
    shape: Sequence[int], properties: dict[str, Any], plans: Plans, configuration: Configuration, labels: LabelManager
) -> Goal | None:
    """A case's own segmentation, cropped as preprocessing did, where it has to be made plane after plane.

    Args:
        shape: of the preprocessed image (z, y, x).
        properties: of preprocessing.
        plans: of the model.
        configuration: of the model.
        labels: of the dataset.

    Returns:
        None where all logits fit in memory, or their resampling has no parts.

    Raises:
        BadData: it has no parts, and the logits take more memory than there is.
    """
    heads = labels.num_segmentation_heads
    if logits_fit(heads, shape):
        return None
    if (parts := revert_parts(shape, properties, plans, configuration)) is not None:
        return Goal(tuple(int(size) for size in properties["shape_after_cropping_and_before_resampling"]), parts)
    needed, limit = 4 * heads * math.prod(shape), memory_limit()
    if needed > limit:
        how = "resampled in another way than linearly, and plane after plane along z"
        message = f"The logits of {heads} classes at {_by(shape)} voxels are {how}: {_gib(needed)}; {_gib(limit)} are there."
        raise BadData("InvalidCases", message, hint="It needs more memory, or plans with resampling_fn_probabilities of order 1.")
    return None


def segment(
    networks: Sequence[torch.nn.Module],
    image: torch.Tensor,
    goals: Sequence[Goal],
    labels: LabelManager,
    window: SlidingWindow,
    device: torch.device | str = "cpu",
    on_tiles: TilesHook | None = None,
    bring: Callable[[torch.nn.Module], None] | None = None,
) -> list[np.ndarray]:
    """Segmentations of an image by the mean logits of networks.

    Args:
        networks: one a fold, in evaluation mode, without deep supervision.
        image: preprocessed, (c, z, y, x).
        goals: what to make of it.
        labels: of the dataset.
        window: how to tile.
        device: where the networks are.
        on_tiles: hears how far all networks are.
        bring: called with a network before it predicts; None: all are on the device.

    Returns:
        One of each goal's shape.

    Raises:
        GpuOutOfMemory: not even one tile fits.
        BadConfiguration: the networks' output is no number.
        BadData: what is held of the image while tiles pass over it does not fit in memory.
    """
    many, heads = len(networks), labels.num_segmentation_heads
    layer = _joined_layers(networks) if all(part.linear for goal in goals for part in goal.parts) else None
    features = 0 if layer is None else layer.weight.shape[1] // many
    by_logits, by_features = (many * _held(each, image.shape[1:], window) for each in (heads, features))
    if many * features >= heads and not (by_logits > memory_limit() // 2 and features < heads):
        layer = None
    needed = by_logits if layer is None else by_features
    if needed > memory_limit():
        what = f"{heads} classes" if layer is None else f"{features} features"
        message = f"The sums of {what} over tiles of {window.tile[0]} planes of {_by(image.shape[2:])}"
        message += f"{f', for each of {many} folds,' if many > 1 else ''} take {_gib(needed)}; {_gib(memory_limit())} are there."
        raise BadData("InvalidCases", message, hint=f"It needs more memory{', or fewer folds (--folds)' if many > 1 else ''}.")
    if layer is not None:
        layer.require_numbers()
    segmenters = [_Segmenter(goal, labels, layer) for goal in goals]

    def add(values: np.ndarray) -> None:
        for each in segmenters:
            each.add(values)

    output = heads if layer is None else features
    predict = [network if layer is None else network.features for network in networks]
    hooks = summed(on_tiles, many)
    streams = [finished_slabs(each, image, output, window, device, hook) for each, hook in zip(predict, hooks, strict=True)]

    def finished() -> Iterator[torch.Tensor]:
        """Planes of all networks."""
        while True:
            planes = []
            for network, stream in zip(networks, streams, strict=True):
                if bring:
                    bring(network)
                if (slab := next(stream, None)) is None:
                    return
                require_numbers(slab.values, window.precision, torch.device(device))
                planes.append(slab.values)
            yield planes[0] if many == 1 else torch.cat(planes) if layer is not None else _mean(planes)

    # The next planes are predicted meanwhile.
    with ThreadPoolExecutor(1, thread_name_prefix="segment") as pool:
        waiting: Future[None] | None = None
        for values in finished():
            if waiting:
                waiting.result()
            waiting = pool.submit(add, values.numpy())
        assert waiting is not None
        waiting.result()
    return [each.segmentation for each in segmenters]


@dataclass(frozen=True, slots=True)
class _Layer:
    """Segmentation layers of networks, as one: weight (heads, features of all networks), bias (heads)."""

    weight: torch.Tensor
    bias: torch.Tensor

    def require_numbers(self) -> None:
        """Raise BadConfiguration unless all weights are numbers."""
        if not (self.weight.isfinite().all() and self.bias.isfinite().all()):
            message = "Weights of the network's segmentation layer are NaN or infinite."
            raise BadConfiguration("LogitsNotFinite", message, hint=DIVERGED)


def _joined_layers(networks: Sequence[torch.nn.Module]) -> _Layer | None:
    """None where the network is one whose last layer may not be linear."""
    if not all(isinstance(network, UNet) for network in networks):
        return None
    layers = [network.segmentation_layer for network in networks]
    weight = torch.cat([layer.weight.detach().float().cpu().flatten(1) for layer in layers], dim=1) / len(layers)
    bias = torch.stack([layer.bias.detach().float().cpu() for layer in layers]).mean(0)
    return _Layer(weight, bias)


def _held(channels: int, shape: Sequence[int], window: SlidingWindow) -> int:
    """Bytes of the sums that `finished_slabs` holds of an image (z, y, x)."""
    _, *plane = (max(size, tile) for size, tile in zip(shape, window.tile, strict=True))
    return 4 * channels * window.tile[0] * math.prod(plane)


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"


def _mean(planes: Sequence[torch.Tensor]) -> torch.Tensor:
    """As `Model.logits` makes it."""
    total = planes[0]
    for each in planes[1:]:
        total.add_(each)
    return total.div_(len(planes))


class _Segmenter:
    """Takes planes in ascending order, and keeps those that a part of the segmentation still needs."""

    def __init__(self, goal: Goal, labels: LabelManager, layer: _Layer | None) -> None:
        self.segmentation = np.zeros(goal.shape, segmentation_type(labels))
        self._parts, self._labels, self._layer = goal.parts, labels, layer
        self._held, self._first, self._next = np.empty((0, 0, 0, 0), np.float32), 0, 0

    def add(self, planes: np.ndarray) -> None:
        """Take planes (channels, z, y, x)."""
        held = np.concatenate((self._held, planes), axis=1) if self._held.size else planes
        end = self._first + held.shape[1]
        while self._next < len(self._parts) and self._parts[self._next].columns.stop <= end:
            part = self._parts[self._next]
            columns = slice(part.columns.start - self._first, part.columns.stop - self._first)
            self.segmentation[part.rows] = self._segment(held[:, columns], part)
            self._next += 1
        needed = self._parts[self._next].columns.start if self._next < len(self._parts) else end
        needed = min(needed, end)
        self._held, self._first = held[:, needed - self._first :].copy(), needed

    def _segment(self, block: np.ndarray, part: Part) -> np.ndarray:
        if self._layer is None:
            return segmentation_of_heads((part.make(channel) for channel in block), self._labels)
        features = torch.empty((len(block), part.rows.stop - part.rows.start, *self.segmentation.shape[1:]))
        for feature, channel in zip(features, block, strict=True):
            feature.numpy()[...] = part.make(channel)
        flat = features.flatten(1)
        found = np.empty(flat.shape[1], self.segmentation.dtype)
        many = max(1, LOGITS // len(self._layer.weight))
        for start in range(0, len(found), many):
            logits = torch.addmm(self._layer.bias[:, None], self._layer.weight, flat[:, start : start + many])
            if self._labels.has_regions:
                found[start : start + many] = self._labels.convert_logits_to_segmentation(logits).numpy()
            else:
                found[start : start + many] = greatest_heads(logits.numpy())
        return found.reshape(features.shape[1:])
