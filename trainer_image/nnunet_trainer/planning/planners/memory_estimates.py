"""What a network and a patch take of a GPU's memory, in the unit of a planner's references."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from nnunet_trainer.extensions import Registry

from ..gpu_memory import conv_feature_map_size
from .facts import ConfigurationFacts

MEMORY_ESTIMATES: Registry[Callable[..., float]] = Registry("planner step")
"""Functions `(configuration, patch, architecture, **parameters) -> number`; a patch is voxels, an architecture as in plans."""


@MEMORY_ESTIMATES.register("FeatureMaps")
def feature_maps(configuration: ConfigurationFacts, patch: Sequence[int], architecture: dict[str, Any]) -> float:
    """Numbers in the outputs of all convolutions for one patch: nnU-Net v2's."""
    return conv_feature_map_size(patch, architecture, configuration.dataset.outputs)


@MEMORY_ESTIMATES.register("GenericUNet")
def generic_unet(configuration: ConfigurationFacts, patch: Sequence[int], architecture: dict[str, Any]) -> float:
    """v1's Generic_UNet.compute_approx_vram_consumption."""
    given = architecture["arch_kwargs"]
    return generic_unet_size(
        patch,
        given["strides"],
        given["features_per_stage"],
        convolutions=_first(given.get("n_conv_per_stage", 2)),
        channels=len(configuration.dataset.channels),
        outputs=configuration.dataset.outputs,
    )


@MEMORY_ESTIMATES.register("FabiansUNet")
def fabians_unet(configuration: ConfigurationFacts, patch: Sequence[float], architecture: dict[str, Any]) -> float:
    """v1's FabiansUNet.compute_approx_vram_consumption, which is of a batch of two."""
    given = architecture["arch_kwargs"]
    return fabians_unet_size(
        patch,
        given["strides"],
        given["features_per_stage"],
        blocks=given.get("n_blocks_per_stage", given.get("n_conv_per_stage")),
        decoder=given["n_conv_per_stage_decoder"],
        channels=len(configuration.dataset.channels),
        outputs=configuration.dataset.outputs,
    )


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


def _first(value: int | Sequence[int]) -> int:
    return value if isinstance(value, int) else value[0]
