"""A batch of patches, and which of its samples are whose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration, BadData

from .randomness import SampleKey

Allocate = Callable[[tuple[int, ...], Any], np.ndarray]
"""Makes an array of a shape and a type, filled with anything."""


@dataclass(frozen=True, slots=True)
class Enlarged:
    """What is read of samples that are rotated or scaled: the part that this looks at, of a patch with a margin about it.

    Attributes:
        rows: places of these samples in the batch.
        data: float32 (rows, c, *size).
        seg: int16 (rows, s, *size).
        start: where they begin in the patch with its margin.
        initial: size of that patch.
    """

    rows: list[int]
    data: Any
    seg: Any
    start: tuple[int, ...]
    initial: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches of one rank, as numpy arrays or torch tensors, and whence each came.

    Attributes:
        data: float32 (rows, c, *patch).
        seg: int16 (rows, 1, *patch), -1 outside the image; in a cascade the second channel is the previous stage's.
        rows: places of these samples in the batch; the others are in `enlarged`.
        keys: of each sample of the batch.
        cases: likewise.
        enlarged: samples that are rotated or scaled.
        begun: of some samples what augmentation drew before they were read; whoever draws the plan takes it out.
        plan: what augmentation has drawn for it (`augmentation.plan`), where that is drawn already.
    """

    data: Any
    seg: Any
    rows: list[int]
    keys: list[SampleKey]
    cases: list[str]
    enlarged: Enlarged | None = None
    begun: dict[SampleKey, Any] = field(default_factory=dict)
    plan: Any = None

    def mapped(self, function: Callable[[Any], Any]) -> Batch:
        """The same with other arrays."""
        wide = self.enlarged
        return replace(
            self,
            data=function(self.data),
            seg=function(self.seg),
            enlarged=None if wide is None else replace(wide, data=function(wide.data), seg=function(wide.seg)),
        )

    def parts(self) -> list[tuple[Sequence[int], Any, Any]]:
        """Places in the batch, images and labels: of samples as they are, and of enlarged ones."""
        found: list[tuple[Sequence[int], Any, Any]] = [(self.rows, self.data, self.seg)]
        if self.enlarged is not None:
            found.append((self.enlarged.rows, self.enlarged.data, self.enlarged.seg))
        return found


def check_labels(batch: Batch, highest: int) -> None:
    """Before a batch is trained on: a label without an output would end a GPU's process without saying which.

    Args:
        batch: of numpy arrays.
        highest: the highest label of dataset.json.

    Raises:
        BadData: a label that dataset.json does not name; the case is named.
    """
    if all(seg.max() <= highest for _, _, seg in batch.parts() if seg.size):
        return
    worst = max((int(own.max()), row) for rows, _, seg in batch.parts() for row, own in zip(rows, seg, strict=True) if own.size)
    raise BadData(
        "UnknownLabel",
        f"The preprocessed label of {batch.cases[worst[1]]} holds the value {worst[0]}; dataset.json names 0 to {highest}.",
        hint="Run nnunet-trainer verify, mend the labels or dataset.json, preprocess again.",
    )


def rank_slots(batch_size: int, rank: int = 0, world_size: int = 1) -> range:
    """The slots of the global batch that one rank draws: contiguous, the remainder goes to the low ranks.

    Raises:
        BadConfiguration: more ranks than samples.
    """
    if batch_size < world_size:
        raise BadConfiguration(
            "BatchSmallerThanWorld",
            f"A batch of {batch_size} cannot be split over {world_size} processes: each needs at least one sample.",
            hint="Use fewer GPUs, or plan a larger batch (spec.patch: {configurations: {…: {batch_size: …}}}).",
        )
    share, rest = divmod(batch_size, world_size)
    start = rank * share + min(rank, rest)
    return range(start, start + share + (rank < rest))
