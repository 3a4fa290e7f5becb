"""Counter-based random numbers: what a sample looks like depends on where it stands in the training, not on what was drawn before.

There is no generator state to save: a resumed run, at another world size too, draws the same samples.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

_WORD = 2**32 - 1


class SampleKey(NamedTuple):
    """The place of one sample: `slot` counts within the global batch, `purpose` keeps training and validation apart."""

    seed: int
    fold: str
    epoch: int
    iteration: int
    slot: int
    purpose: str = "train"

    def _sequence(self, stream: str) -> np.random.SeedSequence:
        names = (zlib.crc32(text.encode()) for text in (self.fold, self.purpose, stream))
        entropy = words([self.seed & (2**64 - 1), *names, self.epoch, self.iteration, self.slot])
        return np.random.SeedSequence(entropy)  # type: ignore[arg-type]

    def generator(self, stream: str) -> np.random.Generator:
        """A fresh generator for one use (`sampling`, `augmentation` …) of this sample."""
        return np.random.Generator(np.random.Philox(self._sequence(stream)))

    def torch_seed(self, stream: str) -> int:
        """The same for random fields made on a device: the seed of their generator."""
        seed = self._sequence(stream).generate_state(1, np.uint64)[0]
        return int(seed) & (2**63 - 1)

    def torch_generator(self, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
        """That generator. Two device types give different numbers for one key."""
        import torch  # not where patches are only read

        return torch.Generator(device).manual_seed(self.torch_seed(stream))


def words(numbers: Iterable[int]) -> np.ndarray:
    """Whole numbers as 32-bit words, the lowest first, at least one each: what numpy makes of a list in three times the time."""
    found = []
    for number in numbers:
        found.append(number & _WORD)
        while number := number >> 32:
            found.append(number & _WORD)
    return np.array(found, np.uint32)
