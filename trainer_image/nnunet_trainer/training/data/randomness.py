"""Counter-based random numbers: what a sample looks like depends on where it stands in the training, not on what was drawn before.

There is no generator state to save: a resumed run, at another world size too, draws the same samples.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch


class SampleKey(NamedTuple):
    """The place of one sample: `slot` counts within the global batch, `purpose` keeps training and validation apart."""

    seed: int
    fold: str
    epoch: int
    iteration: int
    slot: int
    purpose: str = "train"

    def _entropy(self, stream: str) -> list[int]:
        names = (zlib.crc32(text.encode()) for text in (self.fold, self.purpose, stream))
        return [self.seed & (2**64 - 1), *names, self.epoch, self.iteration, self.slot]

    def generator(self, stream: str) -> np.random.Generator:
        """A fresh generator for one use (`sampling`, `augmentation` …) of this sample."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self._entropy(stream))))

    def torch_seed(self, stream: str) -> int:
        """The same for random fields made on a device: the seed of their generator."""
        seed = np.random.SeedSequence(self._entropy(stream)).generate_state(1, np.uint64)[0]
        return int(seed) & (2**63 - 1)

    def torch_generator(self, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
        """That generator. Two device types give different numbers for one key."""
        import torch  # not where patches are only read

        return torch.Generator(device).manual_seed(self.torch_seed(stream))
