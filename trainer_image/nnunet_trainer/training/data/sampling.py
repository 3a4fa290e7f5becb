"""Which patch of which case a training step sees: nnU-Net v2's rules, keyed by place instead of by generator state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_trainer.contract.faults import BadData

from .batch import Allocate, Batch, Enlarged, rank_slots
from .case_cache import CaseCache, CaseStore, OpenedCase
from .case_memory import CaseMemory
from .patch_location import FOREGROUND_FRACTION, choose_origin, forces_foreground, read_patch
from .randomness import Generators, SampleKey
from .spatial_placement import STREAM, Begun, Placements


@dataclass(frozen=True, slots=True)
class _Patch:
    """A sample: its case, the first voxel of its patch with the margin, and which part of that is needed.

    `box` is None where the patch is taken as it is, from the middle; `begun` where nothing is augmented.
    """

    name: str
    case: OpenedCase
    origin: tuple[int, ...]
    box: list[slice] | None
    begun: Begun | None


class PatchSampler:
    """Draws batches of patches. Thread-safe; every rank draws its own slots and gets what a single process would.

    Args:
        store: the preprocessed folder.
        cases: names of the fold's cases; one is chosen with equal probability, with replacement.
        patch_size: what the network sees, 2 or 3 axes; with 2, patches are slices of the first axis.
        batch_size: of all ranks together.
        seed: of the run.
        fold: "0" … or "all".
        initial_patch_size: of the patch with the margin that augmentation needs; default `patch_size` (validation).
        placements: what augmentation will do; only what that looks at is read. Default: the whole of the patch and its margin.
        all_labels: every label but ignore (`LabelManager.all_labels`).
        has_ignore: whether there is an ignore label.
        foreground_fraction: how much of the global batch is forced to show foreground.
        probabilistic: draw for each sample whether it is, with that probability, instead of the batch's last ones.
        rank: of this process.
        world_size: processes that share the batch.
        purpose: "train" or "val": other numbers, for the same place.
        memory: for decoded cases; default: some of its own.

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
        placements: Placements | None = None,
        all_labels: Sequence[int] = (),
        has_ignore: bool = False,
        foreground_fraction: float = FOREGROUND_FRACTION,
        probabilistic: bool = False,
        rank: int = 0,
        world_size: int = 1,
        purpose: str = "train",
        memory: CaseMemory | None = None,
    ) -> None:
        if not cases:
            raise BadData("NoCases", f"Fold {fold} has no cases to draw {purpose} patches from.", hint="Look at splits_final.json.")
        self.cases = list(cases)
        self._flat = len(patch_size) == 2
        lead = (1,) if self._flat else ()
        self._final = (*lead, *(int(n) for n in patch_size))
        self._initial = (*lead, *(int(n) for n in initial_patch_size or patch_size))
        whole = placements is None
        self._margin = [0 if whole else i // 2 - f // 2 for i, f in zip(self._initial, self._final, strict=True)]
        self.placements = placements
        self.batch_size = batch_size
        self.slots = rank_slots(batch_size, rank, world_size)
        self._seed, self._fold, self.purpose = seed, str(fold), purpose
        self._all_labels, self._has_ignore, self._fraction = tuple(all_labels), has_ignore, foreground_fraction
        self._probabilistic = probabilistic
        self._cache = CaseCache(store, CaseMemory(cases) if memory is None else memory)

    def batch(self, epoch: int, iteration: int, allocate: Allocate = np.empty) -> Batch:
        """This rank's patches of one iteration, as numpy arrays.

        Args:
            epoch: from 0 on.
            iteration: of the epoch.
            allocate: makes the arrays, `(shape, dtype)`, filled with anything.
        """
        keys = [SampleKey(self._seed, self._fold, epoch, iteration, slot, self.purpose) for slot in self.slots]
        generators = Generators(keys, ("sampling", STREAM))
        drawn = [self._draw(key.slot, generators, row) for row, key in enumerate(keys)]
        plain = [row for row, patch in enumerate(drawn) if patch.box is None]
        first = drawn[0].case
        labels = first.seg.shape[0] + (first.previous is not None)
        patch = self._initial if self.placements is None else self._final

        def arrays(rows: Sequence[int], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
            data = allocate((len(rows), first.data.shape[0], *size), np.float32)
            return data, allocate((len(rows), labels, *size), np.int16)

        data, seg = arrays(plain, patch)
        for place, row in enumerate(plain):
            self._read(drawn[row], [slice(0, size) for size in patch], data[place], seg[place], self._margin)
        enlarged = None
        if len(plain) < len(keys):
            assert self.placements is not None
            rows = [row for row, chosen in enumerate(drawn) if chosen.box is not None]
            box = self._common([chosen.box for chosen in drawn if chosen.box is not None])
            wide, wide_seg = arrays(rows, [part.stop - part.start for part in box])
            wide_seg.fill(-1)  # images are looked at within their own parts alone, labels are checked everywhere
            for place, row in enumerate(rows):
                own = drawn[row].box
                assert own is not None
                target = (slice(None), *(slice(o.start - b.start, o.stop - b.start) for o, b in zip(own, box, strict=True)))
                self._read(drawn[row], own, wide[place][target], wide_seg[place][target], (0, 0, 0))
            start = tuple(part.start for part in box)
            axes = slice(int(self._flat), None)
            enlarged = Enlarged(rows, self._squeezed(wide), self._squeezed(wide_seg), start[axes], self._initial[axes])
        names = [chosen.name for chosen in drawn]
        begun = {key: chosen.begun for key, chosen in zip(keys, drawn, strict=True) if chosen.begun is not None}
        return Batch(self._squeezed(data), self._squeezed(seg), plain, keys, names, enlarged, begun)

    def batch_bytes(self) -> int:
        """The most memory that a batch takes."""
        case = self._cache.open(self.cases[0])
        labels = case.seg.shape[0] + (case.previous is not None)
        voxels = max(math.prod(self._initial), math.prod(self._final))
        # Some of a batch may be enlarged, the others not: two arrays each of images and labels, aligned.
        return len(self.slots) * voxels * (4 * case.data.shape[0] + 2 * labels) + 4096

    def close(self) -> None:
        """Forget the cases in use."""
        self._cache.close()

    def _draw(self, slot: int, generators: Generators, row: int) -> _Patch:
        """Where a sample's patch lies, and what of it is needed: drawn before anything is read."""
        rng = generators.of(0, row)
        name = self.cases[rng.integers(len(self.cases))]
        case = self._cache.open(name)
        drawn = rng.random()
        forced = drawn < self._fraction if self._probabilistic else forces_foreground(slot, self.batch_size, self._fraction)
        origin = choose_origin(
            case.data.shape[1:],
            self._initial,
            self._final,
            case.locations,
            rng,
            force_foreground=forced,
            all_labels=self._all_labels,
            has_ignore=self._has_ignore,
        )
        if self.placements is None:
            return _Patch(name, case, origin, None, None)
        begun = self.placements.begun(generators.of(1, row))
        box = self.placements.box(begun.placement)
        return _Patch(name, case, origin, None if box is None else [slice(0, 1)] * (3 - len(box)) + list(box), begun)

    def _read(self, patch: _Patch, box: Sequence[slice], data: np.ndarray, seg: np.ndarray, margin: Sequence[int]) -> None:
        """Read a part of a patch, `box` counted from `margin` voxels within what would be cut out for it."""
        case, origin = patch.case, [o + m + part.start for o, m, part in zip(patch.origin, margin, box, strict=True)]
        with case.lock, self._cache.reading(patch.name):
            read_patch(case.data, origin, data, 0)
            read_patch(case.seg, origin, seg[: case.seg.shape[0]], -1)
            if case.previous is not None:
                read_patch(case.previous, origin, seg[-1], -1)

    def _common(self, boxes: Sequence[Sequence[slice]]) -> list[slice]:
        """The part that the arrays of all enlarged patches show."""
        assert self.placements is not None
        if not self.placements.shrinks:
            return [slice(0, size) for size in self._initial]
        return [slice(min(part.start for part in axis), max(part.stop for part in axis)) for axis in zip(*boxes, strict=True)]

    def _squeezed(self, array: np.ndarray) -> np.ndarray:
        return array[:, :, 0] if self._flat else array
