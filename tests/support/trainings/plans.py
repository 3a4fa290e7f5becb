"""Plans as nnU-Net writes them, with whatever network, patch and spacing a test has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnunet_trainer.planning.architectures.unet import NETWORK_CLASSES, arguments

RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
"""Keyword arguments of `resample_data_or_seg_to_shape`, for images."""


def unet(
    dimensions: int,
    features: Sequence[int],
    *,
    blocks: Sequence[int],
    decoder: Sequence[int],
    residual: bool = False,
    kernel_sizes: list[list[int]] | None = None,
    strides: list[list[int]] | None = None,
) -> dict[str, Any]:
    """The `architecture` of a U-Net of as many stages as there are features; every axis is halved between two, unless told."""
    stages = len(features)
    return {
        "network_class_name": NETWORK_CLASSES["ResidualEncoderUNet" if residual else "PlainConvUNet"],
        "arch_kwargs": arguments(
            dimensions=dimensions,
            features=list(features),
            kernel_sizes=kernel_sizes or [[3] * dimensions] * stages,
            strides=strides or [[1] * dimensions, *[[2] * dimensions] * (stages - 1)],
            blocks={"n_blocks_per_stage" if residual else "n_conv_per_stage": list(blocks)},
            decoder=list(decoder),
        ),
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def configuration(**fields: Any) -> dict[str, Any]:
    """A configuration with nnU-Net's preprocessing of one channel, and what `fields` give it beside or in the place of that."""
    return {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        **{f"resampling_fn_{what}": "resample_data_or_seg_to_shape" for what in ("data", "seg", "probabilities")},
        "resampling_fn_data_kwargs": RESAMPLING,
        "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
        "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
        "batch_dice": False,
        **fields,
    }


def plans(dataset_name: str, configurations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """plans.json of a dataset of one channel, and what `fields` give it beside or in the place of that."""
    return {
        "dataset_name": dataset_name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [36, 50, 35],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 1.0, "std": 1.0}},
        **fields,
    }
