"""Numbers in the feature maps of U-Nets: nnU-Net v2's measure of GPU memory, and the two of v1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


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


def generic_unet_size(
    patch: Sequence[int],
    strides: Sequence[Sequence[int]],
    features: Sequence[int],
    *,
    convolutions: int,
    channels: int,
    outputs: int,
) -> int:
    """Voxels in the feature maps of v1's Generic_UNet for one patch.

    Args:
        patch: voxels along (z,) y, x.
        strides: of each stage, the first all 1.
        features: of each stage.
        convolutions: of each stage.
        channels: of the input.
        outputs: classes, background included.
    """
    size = list(patch)
    whole = math.prod(size)
    total = (2 * convolutions + 1) * whole * features[0] + (channels + outputs) * whole
    last = len(strides) - 1
    for stage in range(1, len(strides)):
        size = [n // s for n, s in zip(size, strides[stage], strict=True)]
        maps = convolutions if stage == last else 2 * convolutions + 1  # the decoder's too, and the transposed one
        total += maps * math.prod(size) * features[stage]
    return total


def fabians_unet_size(
    patch: Sequence[float],
    strides: Sequence[Sequence[int]],
    features: Sequence[int],
    *,
    blocks: Sequence[int],
    decoder: Sequence[int],
    channels: int,
    outputs: int,
    batch: int = 2,
) -> float:
    """Voxels in the feature maps of v1's FabiansUNet for a batch.

    Args:
        patch: voxels along (z,) y, x; one that the strides do not divide is halved to fractions, as by v1.
        strides: of each stage, the first all 1.
        features: of each stage.
        blocks: residual blocks of each encoder stage.
        decoder: convolutions of each decoder stage, the deepest first.
        channels: of the input.
        outputs: classes, background included.
        batch: patches.
    """
    size, sizes = list(patch), []
    for row in strides:
        size = [n / s for n, s in zip(size, row, strict=True)]
        sizes.append(math.prod(size))
    total = sum((2 * b + 1) * voxels * f for b, voxels, f in zip(blocks, sizes, features, strict=False))
    total += channels * sizes[0]
    for stage, count in zip(range(len(strides) - 2, -1, -1), decoder, strict=False):
        total += (count + 1) * sizes[stage] * features[stage]
    return (total + outputs * sizes[0]) * batch
