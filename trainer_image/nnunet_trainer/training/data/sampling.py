"""Which patch of which case a training step sees: nnU-Net v2's rules, keyed by place instead of by generator state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.prefetching import prefetched

from .batch import Batch, rank_slots
from .case_cache import CACHE_BYTES, CaseCache, CaseStore
from .patch_location import FOREGROUND_FRACTION, choose_origin, forces_foreground, read_patch
from .randomness import SampleKey

T = TypeVar("T")


class PatchSampler:
    """Draws batches of patches. Thread-safe; every rank draws its own slots and gets what a single process would.

    Args:
        store: the preprocessed folder.
        cases: names of the fold's cases; one is chosen with equal probability, with replacement.
        patch_size: what the network sees, 2 or 3 axes; with 2, patches are slices of the first axis.
        batch_size: of all ranks together.
        seed: of the run.
        fold: "0" … or "all".
        initial_patch_size: what is cut out before augmentation; default `patch_size` (validation).
        all_labels: every label but ignore (`LabelManager.all_labels`).
        has_ignore: whether there is an ignore label.
        foreground_fraction: how much of the global batch is forced to show foreground.
        probabilistic: draw for each sample whether it is, with that probability, instead of the batch's last ones.
        rank: of this process.
        world_size: processes that share the batch.
        purpose: "train" or "val": other numbers, for the same place.
        cache_bytes: memory for what is kept of cases: the whole of small ones (up to a quarter of it), of others where their
            classes lie.

    Raises:
        BadData: no cases.
    """

    def __init__(
        self,
        store: CaseStore,
        cases: Sequence[str],
        *,
        patch_size: Sequence[int],
        batch_size: int,
        seed: int,
        fold: str,
        initial_patch_size: Sequence[int] | None = None,
        all_labels: Sequence[int] = (),
        has_ignore: bool = False,
        foreground_fraction: float = FOREGROUND_FRACTION,
        probabilistic: bool = False,
        rank: int = 0,
        world_size: int = 1,
        purpose: str = "train",
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        if not cases:
            raise BadData("NoCases", f"Fold {fold} has no cases to draw {purpose} patches from.", hint="Look at splits_final.json.")
        self.cases = list(cases)
        self._flat = len(patch_size) == 2
        lead = (1,) if self._flat else ()
        self._final = (*lead, *(int(n) for n in patch_size))
        self._patch = (*lead, *(int(n) for n in initial_patch_size or patch_size))
        self.batch_size = batch_size
        self.slots = rank_slots(batch_size, rank, world_size)
        self._seed, self._fold, self._purpose = seed, str(fold), purpose
        self._all_labels, self._has_ignore, self._fraction = tuple(all_labels), has_ignore, foreground_fraction
        self._probabilistic = probabilistic
        self._cache = CaseCache(store, cache_bytes)

    def batch(self, epoch: int, iteration: int) -> Batch:
        """This rank's patches of one iteration."""
        keys = [SampleKey(self._seed, self._fold, epoch, iteration, slot, self._purpose) for slot in self.slots]
        data: np.ndarray | None = None
        seg: np.ndarray | None = None
        names = []
        for place, key in enumerate(keys):
            rng = key.generator("sampling")
            name = self.cases[rng.integers(len(self.cases))]
            case = self._cache.open(name)
            drawn = rng.random()
            forced = drawn < self._fraction if self._probabilistic else forces_foreground(key.slot, self.batch_size, self._fraction)
            origin = choose_origin(
                case.data.shape[1:],
                self._patch,
                self._final,
                case.locations,
                rng,
                force_foreground=forced,
                all_labels=self._all_labels,
                has_ignore=self._has_ignore,
            )
            if data is None or seg is None:
                data = np.zeros((len(keys), case.data.shape[0], *self._patch), np.float32)
                channels = case.seg.shape[0] + (case.previous is not None)
                seg = np.full((len(keys), channels, *self._patch), -1, np.int16)
            with case.lock, self._cache.reading(name):
                read_patch(case.data, origin, data[place])
                read_patch(case.seg, origin, seg[place, : case.seg.shape[0]])
                if case.previous is not None:
                    read_patch(case.previous, origin, seg[place, -1])
            names.append(name)
        assert data is not None
        assert seg is not None
        if self._flat:
            data, seg = data[:, :, 0], seg[:, :, 0]
        return Batch(torch.from_numpy(data), torch.from_numpy(seg), keys, names)

    def epoch(
        self,
        epoch: int,
        iterations: int,
        *,
        start: int = 0,
        transform: Callable[[Batch], T] | None = None,
        workers: int = 1,
        ahead: int = 2,
    ) -> Iterator[T | Batch]:
        """Iterations `start` … `iterations` - 1 in order, made by background threads while the caller trains.

        Args:
            epoch: which one.
            iterations: in a whole epoch.
            start: the first one, for an epoch that was interrupted.
            transform: also done in the thread (augmentation on the CPU, pinning).
            workers: threads; 0 does all in the caller's.
            ahead: batches that may wait, beside those in work.
        """

        def make(iteration: int) -> T | Batch:
            batch = self.batch(epoch, iteration)
            return batch if transform is None else transform(batch)

        return prefetched(make, range(start, iterations), workers=workers, ahead=ahead)
