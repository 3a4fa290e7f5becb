"""Patches per second of one core, from preprocessed files to augmented patches and targets, beside nnU-Net's data loader.

Both read the same preprocessed cases (real images), draw by the same rules and augment with the same probabilities; CPU seconds of
one thread, alternating, the median of several rounds. nnU-Net keeps nothing of a case; ours keeps what its default cache holds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _measure import SHIPPED, report
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.case import read_and_preprocess
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case
from nnunet_trainer.training.data.augmentation import augmentation_set
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter
from nnunet_trainer.training.data.sampling import PatchSampler

PATCHES: dict[str, tuple[tuple[int, ...], int]] = {"3d": ((40, 56, 40), 9), "2d": ((56, 40), 64)}
SETS = {"": "default", "_DA5": "DA5"}
"""Of transforms, by what their figures end with."""
LIMIT = 0.5


def preprocess(folder: Path) -> PreprocessedFolder:
    """The shipped cases, as the default plans would store them."""
    resampling = {"resampling_fn_data": "resample_data_or_seg_to_shape", "resampling_fn_seg": "resample_data_or_seg_to_shape"}
    arguments = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        **resampling,
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": [40, 56, 40],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data_kwargs": arguments,
        "resampling_fn_seg_kwargs": {**arguments, "is_seg": True, "order": 1},
    }
    plans = Plans(
        {
            "dataset_name": SHIPPED.name,
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "configurations": {"3d": configuration},
        }
    )
    raw = RawDataset.open(SHIPPED)
    for name, case in raw.cases.items():
        data, seg, properties = read_and_preprocess(case, plans, "3d", raw.dataset_json)
        write_case(folder, name, data, seg, properties, (40, 56, 40))
    return PreprocessedFolder(folder)


def scales(dimensions: int) -> list[list[float]]:
    """Of the default plans' network."""
    return [[1 / 2**stage] * dimensions for stage in range(3 if dimensions == 3 else 4)]


def ours(store: PreprocessedFolder, patch: tuple[int, ...], batch: int, chosen: str) -> Callable[[int], object]:
    """One batch by its number."""
    augmenter = Augmenter(config=augmentation_set(chosen), patch_size=patch, deep_supervision_scales=scales(len(patch)))
    sampler = PatchSampler(
        store,
        store.cases,
        patch_size=patch,
        batch_size=batch,
        seed=1,
        fold="0",
        initial_patch_size=augmenter.initial_patch_size,
        placements=augmenter.placements,
    )

    def make(iteration: int) -> object:
        return augmenter.augment(sampler.batch(0, iteration).mapped(torch.from_numpy))

    return make


def reference(store: PreprocessedFolder, patch: tuple[int, ...], batch: int, chosen: str) -> Callable[[int], object]:
    """The same of nnU-Net."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, str(store.folder))  # it warns where they are not set
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    augmenter = Augmenter(config=augmentation_set(chosen), patch_size=patch)
    angle = augmenter.geometry.rotation
    trainer = {"default": nnUNetTrainer, "DA5": nnUNetTrainerDA5}[chosen]
    transforms = trainer.get_training_transforms(
        patch, (-angle, angle), scales(len(patch)), tuple(range(len(patch))), augmenter.geometry.dummy_2d
    )
    labels = LabelManager({"background": 0, "Anterior": 1, "Posterior": 2}, None)
    dataset = nnUNetDatasetBlosc2(str(store.folder))
    loader = nnUNetDataLoader(dataset, batch, augmenter.initial_patch_size, patch, labels, 0.33, transforms=transforms)
    return lambda _: loader.generate_train_batch()


def seconds_per_patch(make: Callable[[int], object], first: int, batches: int, batch: int) -> float:
    """CPU seconds."""
    begun = time.process_time()
    for iteration in range(first, first + batches):
        make(iteration)
    return (time.process_time() - begun) / (batches * batch)


def measure(store: PreprocessedFolder, name: str, end: str, patches: int, rounds: int) -> dict[str, float]:
    """Both, alternating."""
    patch, batch = PATCHES[name]
    makers = {"ours": ours(store, patch, batch, SETS[end]), "nnunet": reference(store, patch, batch, SETS[end])}
    count = max(1, patches // batch)
    found: dict[str, list[float]] = {which: [] for which in makers}
    for make in makers.values():
        seconds_per_patch(make, 0, max(2, count // 4), batch)
    for round_number in range(rounds):
        for which, make in makers.items():
            found[which].append(seconds_per_patch(make, 1000 * (round_number + 1), count, batch))
    mean = {which: statistics.median(values) for which, values in found.items()}
    print(
        f"{name}, {SETS[end]}: {1 / mean['ours']:.0f} patches/s, nnU-Net {1 / mean['nnunet']:.0f}, "
        f"ratio {mean['nnunet'] / mean['ours']:.2f}"
    )
    return {f"{name}{end}_patches_per_second": 1 / mean["ours"], f"{name}{end}_cpu": mean["ours"] / mean["nnunet"]}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=270, help="of each round; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    np.random.seed(0)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = preprocess(Path(folder))
        for name in PATCHES:
            for end in SETS:
                figures |= measure(store, name, end, arguments.patches * (1 if name == "3d" else 4), arguments.rounds)
    return report("augmentation", figures, {f"{name}{end}_cpu": LIMIT for name in PATCHES for end in SETS})


if __name__ == "__main__":
    sys.exit(main())
