"""Preprocessed data and plans of known networks, made here: no image is read, no command is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from nnunet_trainer.preprocessing.storage import write_case
from nnunet_trainer.training.recipes.recipe import read
from nnunet_trainer.training.session.setup import TrainingSetup

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
    blocks = {"n_blocks_per_stage": [1, 3, 4, *[6] * stages][:stages]} if residual else {"n_conv_per_stage": [2] * stages}
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet."
        + ("ResidualEncoderUNet" if residual else "PlainConvUNet"),
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": features,
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [[3] * dimensions] * stages,
            "strides": [[1] * dimensions, *[[2] * dimensions] * (stages - 1)],
            **blocks,
            "n_conv_per_stage_decoder": [1 if residual else 2] * (stages - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


WIDE_3D, WIDE_2D = [32, 64, 128, 256, 320, 320], [32, 64, 128, 256, 512, 512, 512, 512]
PLANS: dict[str, tuple[dict[str, Any], list[int], int]] = {
    "3d_fullres": (architecture(3, WIDE_3D), [128, 128, 128], 2),
    "ResEnc-L": (architecture(3, WIDE_3D, residual=True), [128, 128, 128], 2),
    "2d": (architecture(2, WIDE_2D), [512, 512], 12),
}
SMALL_PLANS: dict[str, tuple[dict[str, Any], list[int], int]] = {
    "3d_fullres": (architecture(3, [4, 8, 12]), [16, 16, 16], 2),
    "2d": (architecture(2, [4, 8, 12]), [32, 32], 2),
}
"""Architecture, patch and batch by name."""


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


def setup(preprocessed: Path, results: Path, plan: tuple[dict[str, Any], list[int], int], **more: Any) -> TrainingSetup:
    """A training that ends after its epochs; `recipe` holds changes of the default one."""
    network, patch, batch = plan
    configuration = {
        "data_identifier": "data",
        "preprocessor_name": "DefaultPreprocessor",
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": False,
        "batch_size": batch,
        "patch_size": patch,
        "spacing": [1.0] * len(patch),
        "architecture": network,
    }
    plans = {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [128, 128, 128],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"tried": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
    }
    recipe = {"epochs": 1, "iterationsPerEpoch": 2, "validationIterations": 1, **more.pop("recipe", {})}
    arguments = {"configuration": "tried", "fold": "0", "validation": False, "recipe": read(recipe), **more}
    return TrainingSetup(preprocessed=preprocessed, results=results, plans=plans, dataset_json=DATASET_JSON, **arguments)
