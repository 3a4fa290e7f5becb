"""Small model folders with random weights, in nnU-Net's own format."""

import copy
import json

import numpy as np
import torch
from nnunet_trainer.architecture import build
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.plans import Plans

RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}

DATASET = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "Anterior": 1, "Posterior": 2},
    "numTraining": 12,
    "file_ending": ".nii.gz",
}

REGIONS = {
    **DATASET,
    "labels": {"background": 0, "whole": [1, 2], "Posterior": 2, "ignore": 3},
    "regions_class_order": [1, 2],
}


def architecture(dimension):
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [3, 4],
            "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
            "kernel_sizes": [[3] * dimension] * 2,
            "strides": [[1] * dimension, [2] * dimension],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def plans(*, spacing=(1.0, 1.0, 1.0), patch=(32, 48, 32), transpose=(0, 1, 2)):
    configuration = {
        "data_identifier": "nnUNetPlans_small",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [36.0, 50.0, 35.0],
        "spacing": list(spacing),
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": RESAMPLING,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
        "architecture": architecture(len(patch)),
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset004_Hippocampus",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [36, 50, 35],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": [int(i) for i in np.argsort(transpose)],
        "configurations": {"small": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 1.0, "std": 1.0}},
    }


def network(content, dataset_json, seed=0):
    """A network whose logits differ enough for a segmentation with all labels."""
    torch.manual_seed(seed)
    heads = LabelManager(dataset_json).num_segmentation_heads
    small = Plans(content).configuration("small")
    made = build(small.architecture, small.num_input_channels(dataset_json), heads, False)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "seg_layers" in name and name.endswith("weight"):
                value.mul_(5)
    return made.eval()


def write(folder, content, dataset_json, *, folds=("0",), mirror_axes=None):
    """Write a model folder as nnU-Net does; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(content))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    axes = range(len(content["configurations"]["small"]["patch_size"])) if mirror_axes is None else mirror_axes
    for number, fold in enumerate(folds):
        place = folder / f"fold_{fold}"
        place.mkdir(exist_ok=True)
        checkpoint = {
            "network_weights": network(content, dataset_json, seed=number).state_dict(),
            "optimizer_state": {},
            "grad_scaler_state": None,
            "logging": {"ema_fg_dice": [np.float64(0.5)]},
            "_best_ema": np.float64(0.5),
            "current_epoch": 1,
            "init_args": {"plans": copy.deepcopy(content), "configuration": "small", "fold": fold, "dataset_json": dataset_json},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": tuple(axes),
        }
        torch.save(checkpoint, place / "checkpoint_final.pth")
    return folder
