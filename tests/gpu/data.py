"""Preprocessed data and plans of known networks, made here: no image is read, no command is run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunet_trainer.architecture import build
from nnunet_trainer.preprocessing.storage import write_case
from nnunet_trainer.training.ranks import devices
from nnunet_trainer.training.recipes.recipe import read
from nnunet_trainer.training.session.setup import TrainingSetup
from support.trainings import plans as skeleton

DATASET = "Dataset902_Noise"
DATASET_JSON = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1, "lesion": 2},
    "numTraining": 5,
    "file_ending": ".nii.gz",
}


def architecture(dimensions: int, features: list[int], *, residual: bool = False) -> dict[str, Any]:
    """nnU-Net's, of as many stages as there are features."""
    stages = len(features)
    blocks = [1, 3, 4, *[6] * stages][:stages] if residual else [2] * stages
    return skeleton.unet(dimensions, features, blocks=blocks, decoder=[1 if residual else 2] * (stages - 1), residual=residual)


WIDE_3D, WIDE_2D = [32, 64, 128, 256, 320, 320], [32, 64, 128, 256, 512, 512, 512, 512]
Plan = tuple[dict[str, Any], list[int], int]
"""Architecture, patch and batch."""
PLANS: dict[str, Plan] = {
    "3d_fullres": (architecture(3, WIDE_3D), [128, 128, 128], 2),
    "ResEnc-L": (architecture(3, WIDE_3D, residual=True), [128, 128, 128], 2),
    "2d": (architecture(2, WIDE_2D), [512, 512], 12),
}
SMALL_PLANS: dict[str, Plan] = {
    "3d_fullres": (architecture(3, [4, 8, 12]), [16, 16, 16], 2),
    "2d": (architecture(2, [4, 8, 12]), [32, 32], 2),
}
"""By name."""


def write(folder: Path, edge: int, cases: int = 5) -> Path:
    """Preprocessed cases of smooth noise with a ball in a ball; the dataset's folder below `folder`."""
    folder = folder / DATASET
    store = folder / "data"
    store.mkdir(parents=True)
    rng, grid = np.random.default_rng(0), np.indices((edge, edge, edge), np.float32)
    for number in range(cases):
        centre = edge / 2 + rng.uniform(-edge / 8, edge / 8, 3)
        distance = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)))
        seg = ((distance < edge / 3).astype(np.int16) + (distance < edge / 8))[None]
        image = rng.standard_normal((1, edge, edge, edge), np.float32) + seg
        locations = {}
        for label in (1, 2):
            voxels = np.argwhere(seg == label)
            locations[label] = voxels[rng.integers(len(voxels), size=2000)]
        write_case(store, f"case_{number}", image, seg, {"class_locations": locations, "spacing": [1, 1, 1]}, [edge // 2] * 3)
    names = [f"case_{number}" for number in range(cases)]
    (folder / "splits_final.json").write_text(json.dumps([{"train": names[1:], "val": names[:1]}]))
    (folder / "dataset_fingerprint.json").write_text("{}")
    return folder


def plans(plan: Plan) -> dict[str, Any]:
    """plans.json with one configuration, `tried`."""
    network, patch, batch = plan
    configuration = skeleton.configuration(
        data_identifier="data",
        normalization_schemes=["CTNormalization"],
        batch_size=batch,
        patch_size=patch,
        median_image_size_in_voxels=[200.0] * len(patch),
        spacing=[1.0] * len(patch),
        architecture=network,
    )
    intensities = {"mean": 0.0, "std": 1.0, "percentile_00_5": -3.0, "percentile_99_5": 3.0, "median": 0.0, "min": -5.0, "max": 5.0}
    return skeleton.plans(
        DATASET,
        {"tried": configuration},
        original_median_shape_after_transp=[128, 128, 128],
        foreground_intensity_properties_per_channel={"0": intensities},
    )


def setup(preprocessed: Path, results: Path, plan: Plan, **more: Any) -> TrainingSetup:
    """A training that ends after its epochs; `recipe` holds changes of the default one."""
    recipe = {"epochs": 1, "iterationsPerEpoch": 2, "validationIterations": 1, **more.pop("recipe", {})}
    arguments = {"configuration": "tried", "fold": "0", "validation": False, "recipe": read(recipe), **more}
    return TrainingSetup(preprocessed=preprocessed, results=results, plans=plans(plan), dataset_json=DATASET_JSON, **arguments)


def write_model(folder: Path, plan: Plan) -> Path:
    """A model folder with random weights, as ours and nnU-Net's predictor read it; returns it."""
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans(plan)))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    torch.manual_seed(0)
    network = build(plan[0], 1, len(DATASET_JSON["labels"]), False)
    content = {
        "network_weights": network.state_dict(),
        "init_args": {"configuration": "tried"},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": tuple(range(len(plan[1]))),
    }
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def write_image(path: Path, shape: Sequence[int]) -> Path:
    """An image (1, z, y, x) of noise that fills it, so that nothing is cropped; returns its path."""
    np.save(path, np.random.default_rng(0).standard_normal((1, *shape), np.float32))
    return path


def equal_share(a: Path, b: Path) -> float:
    """Of the voxels of two segmentations, the share that is the same in both."""
    return float((np.load(a) == np.load(b)).mean())


def versions() -> str:
    """Of driver, CUDA, torch and cuDNN, and why torch sees no GPU where it should."""
    return f"{devices.versions()} cuDNN {torch.backends.cudnn.version()}."
