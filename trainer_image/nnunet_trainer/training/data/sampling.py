"""Which patch of which case a training step sees: nnU-Net v2's rules, keyed by place instead of by generator state."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from nnunet_trainer.contract.faults import BadConfiguration, BadData

from .randomness import SampleKey

T = TypeVar("T")
Locations = Mapping[Any, np.ndarray]

FOREGROUND_FRACTION = 0.33
CACHE_BYTES = 256 * 2**20
OPEN_CASES = 100
"""Cases that stay open, two or three files each: a process may have 1,024."""


class StoredCase(Protocol):
    """A preprocessed case whose arrays (c, z, y, x) are read only where they are sliced."""

    data: Any
    seg: Any
    properties: Mapping[str, Any]
    previous: Any
    """The previous stage's segmentation (z, y, x) in a cascade, else None."""


class CaseStore(Protocol):
    """Where preprocessed cases lie (`preprocessing.storage.PreprocessedFolder`)."""

    def open(self, case: str) -> StoredCase:
        """One case by name."""


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


def forces_foreground(slot: int, batch_size: int, fraction: float = FOREGROUND_FRACTION) -> bool:
    """Whether this slot of the *global* batch must show foreground: the last ones do."""
    return slot >= round(batch_size * (1 - fraction))


def choose_origin(
    shape: Sequence[int],
    patch_size: Sequence[int],
    final_patch_size: Sequence[int],
    locations: Locations,
    rng: np.random.Generator,
    *,
    force_foreground: bool,
    all_labels: Sequence[int] = (),
    has_ignore: bool = False,
) -> tuple[int, ...]:
    """The first voxel of a patch; it may lie outside the image, by up to half of what the patch was enlarged by, or needs.

    Forced foreground: a class, then one of its voxels, each with equal probability, becomes the patch's centre. With an ignore
    label the other patches are centred on any annotated voxel.

    Args:
        shape: of the image, 3 axes.
        patch_size: what is cut out, 3 axes.
        final_patch_size: what the network sees, 3 axes; smaller, when rotation needs a margin.
        locations: class (label, or tuple of labels for a region) -> voxels (n, 4), whose column 0 is the channel.
        rng: of this sample.
        force_foreground: centre on foreground.
        all_labels: every label but ignore; the key of the annotated voxels is `(-1, *all_labels)`.
        has_ignore: whether the dataset has an ignore label.
    """
    margin = [max(p - f, p - s) for p, f, s in zip(patch_size, final_patch_size, shape, strict=True)]
    lowest = [-m // 2 for m in margin]
    highest = [s + m // 2 + m % 2 - p for s, m, p in zip(shape, margin, patch_size, strict=True)]
    annotated = (-1, *all_labels)
    voxels: np.ndarray | None = None
    if force_foreground:
        classes = [name for name, found in locations.items() if len(found)]
        if len(classes) > 1:
            classes = [name for name in classes if name != annotated]
        if classes:
            voxels = locations[classes[rng.integers(len(classes))]]
    elif has_ignore:
        voxels = locations.get(annotated)
    if voxels is None or not len(voxels):
        return tuple(int(rng.integers(low, high + 1)) for low, high in zip(lowest, highest, strict=True))
    voxel = voxels[rng.integers(len(voxels))][1:]
    # Only the lower bound is kept, as in nnU-Net: at the far side a centred patch may reach beyond the margin.
    return tuple(max(low, int(v) - p // 2) for low, v, p in zip(lowest, voxel, patch_size, strict=True))


def read_patch(array: Any, origin: Sequence[int], out: np.ndarray) -> None:
    """Copy what `array` ([c,] z, y, x) holds at `origin` into `out` ([c,] *patch); what lies outside stays as `out` is filled."""
    inside: list[slice] = [slice(None)] * (out.ndim - 3)
    target = list(inside)
    for start, size, extent in zip(origin, out.shape[-3:], array.shape[-3:], strict=True):
        first, last = max(start, 0), min(start + size, extent)
        if first >= last:
            return
        inside.append(slice(first, last))
        target.append(slice(first - start, last - start))
    out[tuple(target)] = array[tuple(inside)]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A case in use. `lock` guards arrays that are still compressed: their handles are not made for two threads."""

    data: Any
    seg: Any
    previous: Any
    locations: Locations
    bytes: int
    lock: Any


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
        self._store = store
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
        self._cache: OrderedDict[str, _Opened] = OrderedDict()
        self._cache_limit, self._cached_bytes, self._lock = cache_bytes, 0, Lock()

    def batch(self, epoch: int, iteration: int) -> Batch:
        """This rank's patches of one iteration."""
        keys = [SampleKey(self._seed, self._fold, epoch, iteration, slot, self._purpose) for slot in self.slots]
        data: np.ndarray | None = None
        seg: np.ndarray | None = None
        names = []
        for place, key in enumerate(keys):
            rng = key.generator("sampling")
            name = self.cases[rng.integers(len(self.cases))]
            case = self._open(name)
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
            with case.lock:
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

    def _open(self, name: str) -> _Opened:
        with self._lock:
            if name in self._cache:
                self._cache.move_to_end(name)
                return self._cache[name]
        stored = self._store.open(name)
        locations = {key: _compact(voxels) for key, voxels in stored.properties["class_locations"].items()}
        size = sum(voxels.nbytes for voxels in locations.values())
        previous = stored.previous
        labels = [stored.seg] if previous is None else [stored.seg, previous]
        decoded = 4 * int(np.prod(stored.data.shape)) + sum(2 * int(np.prod(each.shape)) for each in labels)
        if size + decoded <= self._cache_limit // 4:
            data, seg = np.asarray(stored.data[:], np.float32), np.asarray(stored.seg[:], np.int16)
            previous = None if previous is None else np.asarray(previous[:], np.int16)
            opened = _Opened(data, seg, previous, locations, size + decoded, nullcontext())
        else:
            opened = _Opened(stored.data, stored.seg, previous, locations, size, Lock())
        with self._lock:
            if name not in self._cache:
                self._cache[name] = opened
                self._cached_bytes += opened.bytes
            while self._cached_bytes > self._cache_limit:
                self._drop(next(iter(self._cache)))
            compressed = [case for case, kept in self._cache.items() if not isinstance(kept.data, np.ndarray)]
            for case in compressed[: max(0, len(compressed) - OPEN_CASES)]:
                self._drop(case)
        return opened

    def _drop(self, case: str) -> None:
        self._cached_bytes -= self._cache.pop(case).bytes


def _compact(voxels: Any) -> np.ndarray:
    """Class locations in the smallest type that holds them: they are most of a case's properties."""
    array = np.asarray(voxels)
    return array.astype(np.int16 if array.size and array.max() < 2**15 else np.int32) if array.size else array.reshape(0, 4)


def prefetched(make: Callable[[int], T], items: Sequence[int], *, workers: int = 1, ahead: int = 2) -> Iterator[T]:
    """`make(item)` for each item, in order, at most `workers + ahead` of them before they are asked for.

    An error in a thread is raised where its item is asked for. Leaving the iterator early drops what was not begun.
    """
    if workers <= 0:
        yield from map(make, items)
        return
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    try:
        rest = iter(items)
        for item in rest:
            waiting.append(pool.submit(make, item))
            if len(waiting) >= workers + ahead:
                break
        while waiting:
            done = waiting.popleft().result()
            item = next(rest, None)
            if item is not None:
                waiting.append(pool.submit(make, item))
            yield done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
