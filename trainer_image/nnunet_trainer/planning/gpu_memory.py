"""How much GPU memory a U-Net's training takes, by nnU-Net's measure: the feature maps of all its convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .planner_presets import PLANNERS, Planner


def conv_feature_map_size(
    patch_size: Sequence[int], architecture: dict[str, Any], num_outputs: int, *, deep_supervision: bool = False
) -> int:
    """Numbers in the outputs of all convolutions for one patch.

    As dynamic_network_architectures' `compute_conv_feature_map_size`: the stride of a stage is applied at its first convolution and
    once more for the next stage's input.

    Args:
        patch_size: voxels along (z,) y, x.
        architecture: a configuration's `architecture` (PlainConvUNet or ResidualEncoderUNet).
        num_outputs: output channels of the network.
        deep_supervision: whether each decoder stage has an output.
    """
    arguments = architecture["arch_kwargs"]
    features = list(arguments["features_per_stage"])
    dimensions = len(patch_size)
    strides = [list(s) if isinstance(s, (list, tuple)) else [s] * dimensions for s in arguments["strides"]]
    stages = len(features)
    residual = "n_blocks_per_stage" in arguments
    blocks = _each(arguments["n_blocks_per_stage" if residual else "n_conv_per_stage"], stages)
    decoder = _each(arguments["n_conv_per_stage_decoder"], stages - 1)

    total = features[0] * math.prod(patch_size) if residual else 0  # the stem
    size, channels, sizes = list(patch_size), features[0], []
    for stage in range(stages):
        strided = [n // s for n, s in zip(size, strides[stage], strict=True)]
        maps = features[stage] * math.prod(strided)
        if residual:
            projected = channels != features[stage] or strided != size
            total += maps * (2 * blocks[stage] + projected)
        else:
            total += maps * blocks[stage]
        size, channels = strided, features[stage]
        sizes.append(strided)
    for stage in range(stages - 1):
        skip = math.prod(sizes[stages - 2 - stage])
        total += skip * features[stages - 2 - stage] * (decoder[stage] + 1)  # the convolutions, and the transposed one
        if deep_supervision or stage == stages - 2:
            total += skip * num_outputs
    return total


def _each(value: int | Sequence[int], count: int) -> list[int]:
    return [value] * count if isinstance(value, int) else list(value)


def estimate_gb(patch_size: Sequence[int], batch_size: int, architecture: dict[str, Any], planner: str) -> float | None:
    """Gigabytes by a planner's rule of three: its reference estimate and batch fill its reference GPU.

    None for a network that is no U-Net of nnU-Net's. Of a planner that is not known, or
    estimates otherwise, nnU-Net's default counts.
    """
    if not {"features_per_stage", "strides", "n_conv_per_stage_decoder"} <= set(architecture.get("arch_kwargs", {})):
        return None
    kind = PLANNERS[planner].make() if planner in PLANNERS else Planner()
    if kind.memory_estimate != Planner().memory_estimate:
        kind = Planner()  # its references are in another unit
    two = len(patch_size) == 2
    reference, batch = (kind.reference_2d, kind.reference_batch_2d) if two else (kind.reference_3d, kind.reference_batch_3d)
    estimate = conv_feature_map_size(patch_size, architecture, 2)
    return round(kind.reference_gb * estimate * batch_size / (reference * batch), 2)
