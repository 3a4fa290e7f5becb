"""The smallest U-Nets that are trained after nnU-Net's own plans, as a patch of plans' `configurations`."""

from typing import Any

ARCHITECTURE: dict[str, Any] = {
    "arch_kwargs": {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
    }
}
"""Of a 3D configuration."""

CONFIGURATION: dict[str, Any] = {"batch_size": 2, "patch_size": [8, 16, 16], "architecture": ARCHITECTURE}
"""For images of some 16 voxels."""

TWO_STAGES: dict[str, Any] = {
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "kernel_sizes": [[3, 3, 3]] * 2,
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
    }
}
"""A 3D architecture for patches of 8 voxels."""
