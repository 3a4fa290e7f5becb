"""Predicting a folder of images with both command lines: CPU seconds and peak memory of all processes.

The same model (random weights: what it says does not matter), the same images, mirroring on. Two rows: a slim network, where
reading, preprocessing, tiling, resampling of the logits, export, processes and imports count; and one of nnU-Net's own width,
where the convolutions do.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from _measure import OURS, SHIPPED, compare, cost, report, wheel, wheel_environment
from nnunet_trainer.architecture import build

LIMITS = {"cpu": 0.5, "wall": 0.5, "memory": 0.9, "wide_cpu": 0.85, "wide_wall": 0.85}
SLIM, WIDE = [4, 8, 16, 32], [32, 64, 128, 256]
RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


def plans(features: list[int]) -> dict[str, Any]:
    """The default plans' shape, with features for each stage and a spacing that resamples every image."""
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 4,
            "features_per_stage": features,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * 4,
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
            "n_conv_per_stage": [2, 2, 2, 2],
            "n_conv_per_stage_decoder": [2, 2, 2],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [40, 56, 40],
        "median_image_size_in_voxels": [36.0, 50.0, 35.0],
        "spacing": [0.9, 0.9, 0.9],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": RESAMPLING,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
        "architecture": architecture,
        "batch_dice": False,
    }
    return {
        "dataset_name": SHIPPED.name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [36, 50, 35],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 1.0, "std": 1.0}},
    }


def write_model(folder: Path, features: list[int]) -> None:
    """A model folder in nnU-Net's format."""
    (folder / "fold_0").mkdir(parents=True)
    content = plans(features)
    (folder / "plans.json").write_text(json.dumps(content))
    shutil.copy(SHIPPED / "dataset.json", folder / "dataset.json")
    torch.manual_seed(0)
    network = build(content["configurations"]["3d_fullres"]["architecture"], 1, 3, False)
    checkpoint = {
        "network_weights": network.state_dict(),
        "init_args": {"configuration": "3d_fullres"},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_0/checkpoint_final.pth")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--wide-cases", type=int, default=3, help="for the wide network; default: %(default)s")
    arguments = parser.parse_args()
    figures = measured(f"predict {arguments.cases} cases", arguments.cases, SLIM)
    wide = measured(f"{arguments.wide_cases} cases, wide network", arguments.wide_cases, WIDE)
    return report("prediction", {**figures, **{f"wide_{name}": value for name, value in wide.items()}}, LIMITS)


def measured(what: str, cases: int, features: list[int]) -> dict[str, float]:
    """Ours over the wheel's: CPU seconds, peak memory, wall seconds."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        environment = wheel_environment(root)
        model, images = root / "model", root / "images"
        write_model(model, features)
        images.mkdir()
        for path in sorted((SHIPPED / "imagesTr").iterdir())[:cases]:
            shutil.copy(path, images)
        ours = cost([*OURS, "predict", "--model", str(model), "-i", str(images), "-o", str(root / "ours")], environment)
        reference = wheel("nnUNetv2_predict_from_modelfolder")
        folders = ["-i", str(images), "-o", str(root / "theirs"), "-m", str(model)]
        options = ["-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_progress_bar"]
        theirs = cost([*reference, *folders, *options], environment)
        return compare(what, ours, theirs)


if __name__ == "__main__":
    sys.exit(main())
