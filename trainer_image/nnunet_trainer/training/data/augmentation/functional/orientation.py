"""What moves voxels without resampling. Samples that are changed alike go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ..transforms.orientation import Turned
from .parts import one_by_one, put, take

Change = TypeVar("Change")


def turn(data: torch.Tensor, seg: torch.Tensor, turned: Sequence[tuple[Turned, torch.Tensor]]) -> None:
    """Work in place on (b, c, *patch) and (b, s, *patch): each change, and the samples that it is done to."""

    def changed(x: torch.Tensor, change: Turned) -> torch.Tensor:
        (quarters, first, second), order = change
        return x.rot90(quarters, (first + 2, second + 2)).permute(0, 1, *(axis + 2 for axis in order))

    _together([data, seg], turned, changed)


def mirror(data: torch.Tensor, seg: torch.Tensor, mirrored: Sequence[tuple[tuple[int, ...], torch.Tensor]]) -> None:
    """Flip samples along axes; in place, as `turn`."""
    _together([data, seg], mirrored, lambda x, axes: x.flip([axis + 2 for axis in axes]))


def _together(
    tensors: Sequence[torch.Tensor],
    groups: Sequence[tuple[Change, torch.Tensor]],
    change: Callable[[torch.Tensor, Change], torch.Tensor],
) -> None:
    for what, rows in groups:
        for tensor in tensors:
            for some in one_by_one(rows):
                put(tensor, some, change(take(tensor, some), what))  # `change` copies
