"""Cascade: the previous stage's segmentation as image channels, some of them dilated, eroded, closed or opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from nnunet_trainer.contract.faults import BadConfiguration

from ..transforms.previous_stage import Operation, Operator

FAR = 2**14
"""More than any squared distance that counts here."""


def previous_stage_channels(
    data: torch.Tensor, seg: torch.Tensor, labels: Sequence[int], operations: Sequence[Sequence[Operation]] = ()
) -> tuple[torch.Tensor, torch.Tensor]:
    """The previous stage's segmentation, channel 1 of `seg`, becomes one image channel a foreground label.

    Args:
        data: (b, c, *patch).
        seg: (b, 2, *patch).
        labels: foreground labels, the channels' order.
        operations: what is done to them, of each sample.

    Returns:
        data (b, c + labels, *patch) and seg (b, 1, *patch).

    Raises:
        BadConfiguration: `seg` has no such channel.
    """
    if seg.shape[1] < 2:
        message = "This configuration is the second stage of a cascade: it needs the predictions of the previous stage as an input."
        raise BadConfiguration("NoPreviousStage", message, hint="Train a configuration that stands on its own, as 3d_fullres.")
    hot = torch.stack([seg[:, 1] == label for label in labels], dim=1)
    for channels, some in zip(hot, operations, strict=False):
        for operation in some:
            apply_operator(channels, operation)
    return torch.cat((data, hot.to(data.dtype)), dim=1), torch.cat((seg[:, :1], seg[:, 2:]), dim=1)


def dilate(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Dilate a mask (*patch) bool by a ball `size` voxels across; nothing is beyond the border.

    The squared distance to the nearest voxel of the mask is a sum over axes, so it is found axis by axis: three times a ball's
    diameter of steps, where a convolution takes its volume. Distances are doubled, which makes those to corners whole numbers.
    """
    even, limit = 1 - size % 2, (size - 1) ** 2
    distance = torch.where(mask, 0, FAR).to(torch.int16)
    for axis in range(mask.ndim):
        length = distance.shape[axis]
        before, after = [list(distance.shape) for _ in range(2)]
        before[axis], after[axis] = (size - 1) // 2, size // 2
        padded = torch.cat((distance.new_full(before, FAR), distance, distance.new_full(after, FAR)), dim=axis)
        nearest = distance.clone()
        for place in range(size):
            step = (2 * (place - (size - 1) // 2) - even) ** 2
            torch.minimum(nearest if place else nearest.fill_(FAR), padded.narrow(axis, place, length) + step, out=nearest)
        distance = nearest
    return distance <= limit


def erode(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Erode a mask; beyond the border all counts as inside."""
    return ~dilate(~mask, size)


def close(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Dilate, then erode."""
    return erode(dilate(mask, size), size)


def open_(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Erode, then dilate."""
    return dilate(erode(mask, size), size)


OPERATORS: dict[Operator, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "dilate": dilate,
    "erode": erode,
    "close": close,
    "open": open_,
}


def apply_operator(channels: torch.Tensor, operation: Operation) -> None:
    """Apply an operator to one of the channels (labels, *patch) bool, in place; what it gains the others lose."""
    near: torch.Tensor | None = channels
    if channels.device.type == "cpu":  # a GPU would have to say first where the label is
        near = _surroundings(channels, operation)
    if near is not None:
        apply_to_all(near, operation)


def apply_to_all(near: torch.Tensor, operation: Operation) -> None:
    """The same, with every voxel looked at."""
    channel, operator, size = operation
    result = OPERATORS[operator](near[channel], size)
    near &= near[channel] | ~result
    near[channel] = result


def _surroundings(channels: torch.Tensor, operation: Operation) -> torch.Tensor | None:
    """The part of the channels that an operator may change."""
    box = _box(channels[operation.channel], margin=operation.size + 1)
    return None if box is None else channels[(slice(None), *box)]


def _box(mask: torch.Tensor, margin: int) -> tuple[slice, ...] | None:
    """The part of a mask that holds all of it, `margin` voxels wider where there is room; None when it is empty."""
    box = []
    for axis in range(mask.ndim):
        others = [a for a in range(mask.ndim) if a != axis]
        found = mask.amax(others).nonzero().flatten().tolist()
        if not found:
            return None
        box.append(slice(max(0, found[0] - margin), min(mask.shape[axis], found[-1] + 1 + margin)))
    return tuple(box)
