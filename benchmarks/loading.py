"""What it costs to read and augment the batches of a training, beside nnU-Net's data loader on files of its own.

CT-like cases of 280³ at a patch of 128³, batch 2, and a 2D plan. CPU seconds of all processes, in the steady state of a training:
ours keeps decoded cases as far as memory allows, nnU-Net's keeps none; `cold` is ours without that. Both are made by as many
processes at once: a core whose neighbour works too takes more seconds for the same. What nnU-Net's worker processes cost to talk to
is not counted.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import report
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case
from nnunet_trainer.training.data.augmentation import augmentation_set
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter
from nnunet_trainer.training.data.case_memory import CaseMemory
from nnunet_trainer.training.data.loading.batch_maker import BatchMaker, Schedule
from nnunet_trainer.training.data.loading.budget import MemoryBudget
from nnunet_trainer.training.data.loading.loader import BatchLoader
from nnunet_trainer.training.data.sampling import PatchSampler
from nnunet_trainer.training.session.batch_preparation import BatchPreparation

PLANS: dict[str, tuple[tuple[int, ...], int]] = {"3d": ((128, 128, 128), 2), "2d": ((256, 256), 12)}
EDGE = 280
STEP_SECONDS = 0.13
"""Of a training step of nnU-Net's 3d_fullres network at 128³, batch 2, on an A100 (7.7 a second)."""
WORKERS = 2


def make_cases(folder: Path, count: int) -> dict[str, tuple[PreprocessedFolder, str]]:
    """The same cases stored for each plan by us and by nnU-Net."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
    from scipy.ndimage import gaussian_filter

    for plan in PLANS:
        for whose in ("ours", "nnunet"):
            (folder / plan / whose).mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = gaussian_filter(rng.standard_normal([EDGE // 4] * 3).astype(np.float32), 4)
        coarse = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)
        seg = np.digitize(coarse / coarse.std(), [0.8, 1.6]).astype(np.int16)
        # Resampled images have noise that is smooth from voxel to voxel.
        noise = gaussian_filter(rng.standard_normal(seg.shape).astype(np.float32), 0.6)
        data = (seg - 0.4 + 0.5 * noise / noise.std()).astype(np.float32)
        found = {}
        for label in (1, 2):
            voxels = np.argwhere(seg == label)
            voxels = voxels[rng.choice(len(voxels), 10000)]
            found[label] = np.concatenate((np.zeros((len(voxels), 1), np.int64), voxels), axis=1)
        properties = {"class_locations": found}
        for plan, (patch, _) in PLANS.items():
            write_case(folder / plan / "ours", f"ct_{number}", data[None], seg[None], properties, patch)
            blocks, blocks_seg = (comp_blosc2_params((1, *seg.shape), patch, itemsize) for itemsize in (4, 2))
            nnUNetDatasetBlosc2.save_case(
                data[None],
                seg[None],
                properties,
                str(folder / plan / "nnunet" / f"ct_{number}"),
                chunks=blocks[1],
                blocks=blocks[0],
                chunks_seg=blocks_seg[1],
                blocks_seg=blocks_seg[0],
            )
    return {plan: (PreprocessedFolder(folder / plan / "ours"), str(folder / plan / "nnunet")) for plan in PLANS}


def scales(dimensions: int) -> list[list[float]]:
    """Of the network's outputs."""
    return [[1 / 2**stage] * dimensions for stage in range(5 if dimensions == 3 else 6)]


def our_loader(store: PreprocessedFolder, plan: str, *, augments: bool, keeps: bool, workers: int = WORKERS) -> BatchLoader:
    """As a training makes it: on a GPU nothing is augmented in the workers."""
    patch, batch = PLANS[plan]
    augmenter = Augmenter(config=augmentation_set("default"), patch_size=patch, deep_supervision_scales=scales(len(patch)))
    budget = MemoryBudget.of(1)
    memory = CaseMemory(store.cases, budget.most if keeps else 0, highest_label=2)
    sampler = PatchSampler(
        store,
        store.cases,
        patch_size=patch,
        batch_size=batch,
        seed=1,
        fold="0",
        initial_patch_size=augmenter.initial_patch_size,
        placements=augmenter.placements,
        memory=memory,
    )
    layout = torch.channels_last_3d if len(patch) == 3 else torch.channels_last
    preparation = {"train": BatchPreparation(augmenter, torch.device("cpu"), layout)} if augments else None
    return BatchLoader(
        maker=BatchMaker({"train": sampler}, 2, preparation),
        schedule=Schedule(10**6, 250, 0),
        memory=memory,
        budget=budget,
        workers=workers,
        processes=True,
        slot_bytes=lambda: 2 * sampler.batch_bytes(),
    )


def reference(folder: str, plan: str, augments: bool) -> Callable[[], Any]:
    """A batch of nnU-Net's loader, with the margin that it reads for augmentation."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    patch, batch = PLANS[plan]
    augmenter = Augmenter(config=augmentation_set("default"), patch_size=patch)
    angle = augmenter.geometry.rotation
    transforms = nnUNetTrainer.get_training_transforms(
        patch, (-angle, angle), scales(len(patch)), tuple(range(len(patch))), augmenter.geometry.dummy_2d
    )
    labels = LabelManager({"background": 0, "organ": 1, "lesion": 2}, None)
    loader = nnUNetDataLoader(
        nnUNetDatasetBlosc2(folder),
        batch,
        augmenter.initial_patch_size,
        patch,
        labels,
        0.33,
        transforms=transforms if augments else None,
    )
    return loader.generate_train_batch


@contextmanager
def reference_costs(folder: str, plan: str, augments: bool) -> Iterator[Callable[[int], float]]:
    """What gives the CPU seconds a batch of nnU-Net's loader, of so many batches that `WORKERS` processes make at once."""
    # Not above: known as `__mp_main__` before torch is there, this module would be where pickle finds torch.channels_last.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")
    arguments = (folder, plan, augments, context.Barrier(WORKERS))
    with ProcessPoolExecutor(WORKERS, mp_context=context, initializer=_begin, initargs=arguments) as pool:

        def cost(batches: int) -> float:
            shares = [pool.submit(_cost, batches // WORKERS) for _ in range(WORKERS)]
            return sum(share.result() for share in shares) / (batches // WORKERS * WORKERS)

        yield cost


def _begin(folder: str, plan: str, augments: bool, together: Any) -> None:
    global _make, _together
    torch.set_num_threads(1)
    _make, _together = reference(folder, plan, augments), together
    _make()


def _cost(batches: int) -> float:
    _together.wait()
    begun = time.process_time()
    for _ in range(batches):
        _make()
    return time.process_time() - begun


_make: Callable[[], Any]
_together: Any


def cpu_seconds(pids: list[int]) -> float:
    """Of this process and its workers."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def ours_cost(store: PreprocessedFolder, plan: str, batches: int, *, augments: bool, keeps: bool) -> tuple[float, float]:
    """CPU seconds a batch, and those of this process alone."""
    with our_loader(store, plan, augments=augments, keeps=keeps) as loader:
        made = endless(loader)
        for _ in range(12 + 4 * len(store.cases)):
            next(made)
        before, own = cpu_seconds(loader.pids), time.process_time()
        for _ in range(batches):
            next(made)
        return (cpu_seconds(loader.pids) - before) / batches, (time.process_time() - own) / batches


def endless(loader: BatchLoader) -> Iterator[Any]:
    """Epoch after epoch."""
    epoch = 0
    while True:
        yield from loader.batches("train", epoch, 250)
        epoch += 1


def standing_still(store: PreprocessedFolder, plan: str, batches: int) -> float:
    """Share of the time that a consumer waits, which takes as long as a training step for each batch."""
    with our_loader(store, plan, augments=False, keeps=True) as loader:
        made = endless(loader)
        for _ in range(12):
            next(made)
        waited, begun = 0.0, time.perf_counter()
        for _ in range(batches):
            asked = time.perf_counter()
            next(made)
            waited += time.perf_counter() - asked
            time.sleep(STEP_SECONDS)
        return waited / (time.perf_counter() - begun)


class Counted:
    """A stored array that counts what of it is unpacked, by its blocks, and what was asked for."""

    def __init__(self, array: Any, counts: list[int]) -> None:
        self.array, self.shape, self.counts = array, array.shape, counts

    def __getitem__(self, place: tuple[slice, ...]) -> Any:
        found = self.array[place]
        touched = []
        for part, size, chunk, block in zip(place, self.shape, self.array.chunks, self.array.blocks, strict=True):
            start, stop, _ = part.indices(size)
            # Chunks are cut into blocks each for itself; the last ones are padded with zeros, which cost nothing.
            ends = [min(chunk_start + chunk, size) for chunk_start in range(0, size, chunk)]
            blocks = [
                (b, min(b + block, end)) for c, end in zip(range(0, size, chunk), ends, strict=True) for b in range(c, end, block)
            ]
            touched.append(sum(last - first for first, last in blocks if first < stop and last > start))
        self.counts[0] += math.prod(touched) * found.itemsize
        self.counts[1] += found.nbytes
        return found


def decoded_share(store: PreprocessedFolder, plan: str, batches: int) -> float:
    """Bytes that are unpacked for each byte that is needed, where no decoded case is kept."""
    loader = our_loader(store, plan, augments=False, keeps=False)
    counts, opened = [0, 0], store.open

    def counted(case: str) -> Any:
        stored = opened(case)
        stored.data, stored.seg = Counted(stored.data, counts), Counted(stored.seg, counts)
        return stored

    store.open = counted  # type: ignore[method-assign]
    for iteration in range(batches):
        loader.maker.samplers["train"].batch(0, iteration)
    del store.open
    return counts[0] / counts[1]


def measure(plan: str, store: PreprocessedFolder, theirs: str, batches: int, rounds: int) -> dict[str, float]:
    """One plan."""
    figures: dict[str, float] = {}
    for augments in (False, True):
        count = max(8, batches // 2) if augments else batches  # what augmentation draws costs very different times
        ours, cold, wheel, own = [], [], [], 0.0
        with reference_costs(theirs, plan, augments) as reference_cost:
            for _ in range(rounds):
                wheel.append(reference_cost(count))
                cost, own = ours_cost(store, plan, count, augments=augments, keeps=True)
                ours.append(cost)
                cold.append(ours_cost(store, plan, count, augments=augments, keeps=False)[0])
        a, b, c = (statistics.median(each) for each in (ours, cold, wheel))
        what = "augmented" if augments else "read"
        print(f"{plan}, {what}: {1000 * a:.1f} ms of CPU a batch, {1000 * own:.2f} of them in the consumer's process")
        print(f"  no case kept: {1000 * b:.1f}, nnU-Net {1000 * c:.1f}: ratio {c / a:.1f} ({c / b:.1f})", flush=True)
        figures |= {f"{plan}_{what}_cpu": a / c, f"{plan}_{what}_cold_cpu": b / c, f"{plan}_{what}_ms": 1000 * a}
    waiting, decoded = standing_still(store, plan, batches), decoded_share(store, plan, 40)
    print(f"{plan}: the consumer waits {waiting:.1%} of the time; {decoded:.2f} bytes unpacked for each that is needed", flush=True)
    figures |= {f"{plan}_waiting": waiting, f"{plan}_decoded": decoded}
    return figures


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--batches", type=int, default=50, help="of each round; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--plan", choices=sorted(PLANS), help="only this one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    np.random.seed(0)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            os.environ.setdefault(name, folder)  # it warns where they are not set
        for plan, (store, theirs) in make_cases(Path(folder), arguments.cases).items():
            if arguments.plan in (None, plan):
                figures |= measure(plan, store, theirs, arguments.batches, arguments.rounds)
    plans = [arguments.plan] if arguments.plan else list(PLANS)
    limits = {"read_cpu": 1 / 2, "augmented_cpu": 1 / 4, "waiting": 0.05, "decoded": 2.0}
    return report("loading", figures, {f"{plan}_{name}": limit for plan in plans for name, limit in limits.items()})


if __name__ == "__main__":
    sys.exit(main())
