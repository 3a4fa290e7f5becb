"""A batch of patches, and which of its samples are whose."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nnunet_trainer.contract.faults import BadConfiguration

from .randomness import SampleKey


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches of one rank: `data` float32 (b, c, *patch), `seg` int16 (b, 1, *patch), and whence each came.

    In a cascade the second channel of `seg` is the previous stage's.
    """

    data: torch.Tensor
    seg: torch.Tensor
    keys: list[SampleKey]
    cases: list[str]

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, from which copies to a GPU overlap with its work."""
        return Batch(self.data.pin_memory(), self.seg.pin_memory(), self.keys, self.cases)


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
