"""Counter-based random numbers: what a sample looks like depends on where it stands in the training, not on what was drawn before.

There is no generator state to save: a resumed run, at another world size too, draws the same samples.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.random.bit_generator import ISeedSequence

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
        return _seed_sequence(self.seed, (self.fold, self.purpose, stream), (self.epoch, self.iteration, self.slot))

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


def _seed_sequence(seed: int, names: Iterable[str], place: Iterable[int] = ()) -> np.random.SeedSequence:
    entropy = words([seed & (2**64 - 1), *(zlib.crc32(text.encode()) for text in names), *place])
    return np.random.SeedSequence(entropy)  # type: ignore[arg-type]


def words(numbers: Iterable[int]) -> np.ndarray:
    """Whole numbers as 32-bit words, the lowest first, at least one each: what numpy makes of a list in three times the time."""
    found = []
    for number in numbers:
        found.append(number & _WORD)
        while number := number >> 32:
            found.append(number & _WORD)
    return np.array(found, np.uint32)


class Generators:
    """`SampleKey.generator` for several samples and streams, hashed together: in half of the time of one after the other.

    Args:
        keys: of one seed, fold and purpose, and numbers below 2³².
        streams: names.
    """

    def __init__(self, keys: Sequence[SampleKey], streams: tuple[str, ...]) -> None:
        ((seed, fold, purpose),) = {(key.seed, key.fold, key.purpose) for key in keys}
        pool, constants = _begun(seed, fold, purpose, streams)
        places = np.array([(key.epoch, key.iteration, key.slot) for key in keys], np.uint32)
        for number, own in zip(places.T, constants, strict=True):
            mixed = _MIX_LEFT * pool - _MIX_RIGHT * _hashed(number, own)
            pool = mixed ^ (mixed >> _SHIFT)
        state = _hashed(pool, _constants(_OUT_FIRST, _OUT_FACTOR, _POOL))
        self._states = np.ascontiguousarray(state.transpose(1, 2, 0)).view(np.uint64)

    def of(self, stream: int, sample: int) -> np.random.Generator:
        """A fresh generator, by the places of its stream and its sample."""
        return np.random.Generator(np.random.Philox(_Hashed(self._states[stream, sample])))  # type: ignore[arg-type]


class _Hashed(ISeedSequence):
    """What a `SeedSequence` would give Philox."""

    def __init__(self, state: np.ndarray) -> None:
        self._state = state

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        assert (n_words, dtype) == (self._state.size, self._state.dtype)
        return self._state


# What follows is SeedSequence's way of hashing, which numpy promises not to change, on whole arrays.
_POOL, _SHIFT = 4, np.uint32(16)
_IN_FIRST, _IN_FACTOR, _OUT_FIRST, _OUT_FACTOR = 0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED
_MIX_LEFT, _MIX_RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)


def _hashed(values: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """One value a number of the pool."""
    found = (values ^ constants[:-1]) * constants[1:]
    return found ^ (found >> _SHIFT)


@lru_cache
def _constants(first: int, factor: int, count: int, before: int = 0) -> np.ndarray:
    """(count + 1, 1, 1): those that hash `count` values, after so many others."""
    return np.array([first * pow(factor, before + i, 2**32) & _WORD for i in range(count + 1)], np.uint32)[:, None, None]


@lru_cache
def _begun(seed: int, fold: str, purpose: str, streams: tuple[str, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The pools (4, streams, 1) that the numbers of a place come into, and what each of these is hashed with."""
    pools = [_seed_sequence(seed, (fold, purpose, stream)).pool for stream in streams]
    hashed = _POOL * len(words([seed & (2**64 - 1), 0, 0, 0]))
    constants = [_constants(_IN_FIRST, _IN_FACTOR, _POOL, hashed + _POOL * number) for number in range(3)]
    return np.stack(pools, axis=1)[..., None], constants
