"""nnU-Net v1's planners, by its names: their spacings, patches, batches and poolings, with v2's networks.

v1 planned slices and volumes by two planners, into two files. Here each of these plans all configurations; by `perConfiguration`
those of two planners stand in one Plans. v1's plans names are kept where they are one planner's; where v1 gave two planners one
name (so that one wrote over the other), each has its own.
"""

from __future__ import annotations

from typing import Any

from .planner import Planner, changed
from .registry import add

_GENERIC = 520_000_000
"""Generic_UNet.use_this_for_batch_size_computation_3D: a batch of two on 8 GB."""
_GENERIC_2D = 19_739_648 * 50 / 2
_FABIANS = 1_230_348_801
"""FabiansUNet.use_this_for_3D_configuration, of a batch of two; its 2D one is of a batch of twelve."""

V21 = changed(
    Planner(),
    name="ExperimentPlanner3D_v21",
    plans_name="nnUNetPlansv2.1",
    initial_patch="SmallestEdge",
    pooling="FinestOfAllAxes",
    memory_estimate="GenericUNet",
    patch_and_batch="V1",
    reference_3d=_GENERIC * 32 / 30,
    reference_2d=_GENERIC_2D,
    reference_batch_3d=2,
    reference_batch_2d=2,
    lowres_spacing_step=1.01,
    rounds_each_shape=False,
)
_OLD: dict[str, Any] = {
    "target_spacing_rule": "PlainPercentile",
    "pooling": "Late",
    "base_features": 30,
    "reference_3d": _GENERIC,
}
"""What v1's first ExperimentPlanner does otherwise."""
_FABIANS_UNET: dict[str, Any] = {
    "residual": True,
    "memory_estimate": "FabiansUNet",
    "reference_3d": _FABIANS,
    "reference_2d": 1_244_233_721 / 6,
    "blocks_encoder": (1, 2, 3, *(4,) * 11),
    "blocks_decoder": (1,) * 13,
}
_BFNNUNET = {
    **_FABIANS_UNET,
    "target_spacing_rule": {"name": "Fixed", "spacing": [1.5, 1.0, 1.0]},
    "reference_3d": _FABIANS * 15 / 8,
    "reference_gb": 15,
    "base_features": 30,
    "separate_z": False,
}
_NO_RESAMPLING = {"low_resolution": "Never", "resampling": "no_resampling_hack"}

_ROWS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("ExperimentPlanner3D_v21", "nnUNetPlansv2.1", "v1's default for volumes", {}),
    (
        "ExperimentPlanner2D_v21",
        "nnUNetPlansv2.1_2D",
        "v1's default for slices: begins with the whole median slice, with batches of an even size",
        {},
    ),
    ("ExperimentPlanner3D_v21_11GB", "nnUNetPlansv2.1_big", "for 11 GB", {"reference_3d": _GENERIC * 11 / 8, "reference_gb": 11}),
    (
        "ExperimentPlanner3D_v21_16GB",
        "nnUNetPlansv2.1_16GB",
        "for 16 GB",
        {"reference_3d": _GENERIC * 16 / 8.5, "reference_gb": 16},
    ),
    (
        "ExperimentPlanner3D_v21_32GB",
        "nnUNetPlansv2.1_verybig",
        "for 32 GB",
        {"reference_3d": _GENERIC * 32 / 8, "reference_gb": 32},
    ),
    (
        "ExperimentPlanner3D_v21_3cps",
        "nnUNetPlansv2.1_3cps",
        "three convolutions a stage",
        {"convolutions_per_stage": {"name": "Same", "encoder": 3, "decoder": 3}},
    ),
    (
        "ExperimentPlanner3D_v22",
        "nnUNetPlansv2.2",
        "an anisotropic axis stays three times as coarse as the others",
        {"target_spacing_rule": "AtLeastTripleOfOthers"},
    ),
    (
        "ExperimentPlanner3D_v23",
        "nnUNetPlansv2.3",
        "an anisotropic axis is resampled by splines too",
        {"order_z_data": 3, "order_z_seg": 1},
    ),
    ("ExperimentPlanner3DFabiansResUNet_v21", "nnUNetPlans_FabiansResUNet_v2.1", "residual encoder", _FABIANS_UNET),
    (
        "ExperimentPlanner3D_v21_customTargetSpacing_2x2x2",
        "nnUNetPlansv2.1_trgSp_2x2x2",
        "spacing 2, 2, 2 mm",
        # v1's class skips v21's constructor: 30 features, and the reference is multiplied by 30 / 30.
        {
            "target_spacing_rule": {"name": "Fixed", "spacing": [2.0, 2.0, 2.0]},
            "base_features": 30,
            "reference_3d": _GENERIC,
        },
    ),
    ("ExperimentPlanner3D_v21_noResampling", "nnUNetPlansv2.1_noRes", "no resampling, no cascade", _NO_RESAMPLING),
    (
        "ExperimentPlanner3D_v21_noResampling_16GB",
        "nnUNetPlansv2.1_noRes_16GB",
        "no resampling, no cascade, for 16 GB",
        {**_NO_RESAMPLING, "reference_3d": _GENERIC * 16 / 8.5, "reference_gb": 16},
    ),
    (
        "ExperimentPlannerTargetSpacingForAnisoAxis",
        "nnUNetPlanstargetSpacingForAnisoAxis",
        "an anisotropic axis at its 10th percentile",
        {**_OLD, "target_spacing_rule": "AnisotropicAgainstLongest"},
    ),
    (
        "ExperimentPlannerPoolBasedOnSpacing",
        "nnUNetPlanspoolBasedOnSpacing",
        "pools by the spacing",
        {**_OLD, "pooling": "FinestOfAllAxes"},
    ),
    ("ExperimentPlannerAllConv3x3", "nnUNetPlansallConv3x3", "all kernels 3", {**_OLD, "pooling": "LateAllKernels3"}),
    (
        "ExperimentPlannerIso",
        "nnUNetPlansfixedisoPatchesInmm",
        "patches isotropic in mm",
        {**_OLD, "shrunk_axis": "LongestInMillimetres"},
    ),
    (
        "ExperimentPlanner3D_IsoPatchesInVoxels",
        "nnUNetPlansfixedisoPatchesInVoxels",
        "patches isotropic in voxels",
        {**_OLD, "initial_patch": "MedianImage", "shrunk_axis": "MostVoxels"},
    ),
    ("ExperimentPlannerCT2", "nnUNetPlansCT2", "CT2Normalization for CT", {**_OLD, "normalization_rule": "SchemeForCT"}),
    (
        "ExperimentPlannernonCT",
        "nnUNetPlansnonCT",
        "each image by its own mean and deviation, CT too",
        {**_OLD, "normalization_rule": {"name": "SameForAll", "scheme": "ZScoreNormalization"}},
    ),
    (
        "ExperimentPlanner2D_v21_RGB_scaleTo_0_1",
        "nnUNet_RGB_scaleTo_0_1",
        "colours divided by 255",
        {"normalization_rule": {"name": "SameForAll", "scheme": "RGBTo01Normalization"}},
    ),
    ("ExperimentPlanner3D_residual_v21_bfnnUNet", "nnUNetPlans_bfnnUNet_fabresnet", "AMOS 2022, spacing 1.5, 1, 1 mm", _BFNNUNET),
    (
        "ExperimentPlanner3D_residual_v21_bfnnUNet_31",
        "nnUNetPlans_bfnnUNet_fabresnet_31",
        "AMOS 2022, segmentations resampled by cubic splines",
        {**_BFNNUNET, "order_seg": 3},
    ),
    (
        "ExperimentPlanner3D_residual_v21_bfnnUNet_31_spRegnnU",
        "nnUNetPlans_bfnnUNet_fabresnet_31_spnnU",
        "AMOS 2022, spacing 2, 0.688, 0.688 mm",
        {
            **_BFNNUNET,
            "order_seg": 3,
            "target_spacing_rule": {"name": "Fixed", "spacing": [2.0, 0.68825001, 0.68825001]},
        },
    ),
)

PRESETS: dict[str, Planner] = {
    name: changed(V21, name=name, plans_name=plans_name, **changes) for name, plans_name, _, changes in _ROWS
}

for _name, _, _about, _ in _ROWS:
    add(PRESETS[_name], f"nnU-Net v1: {_about}; plans {PRESETS[_name].plans_name}.")
