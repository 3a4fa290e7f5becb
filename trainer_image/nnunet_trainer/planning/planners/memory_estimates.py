"""What a network and a patch take of a GPU's memory, in the unit of a planner's references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnunet_trainer.extensions import Registry

from ..architectures import class_name, estimate_of, of_network
from ..architectures.feature_maps import conv_feature_map_size, fabians_unet_size, generic_unet_size
from .facts import ConfigurationFacts
from .steps import guarded

MEMORY_ESTIMATES: Registry[Callable[..., float]] = Registry("planner step")
"""Functions `(configuration, patch, architecture, **parameters) -> number`; a patch is voxels, an architecture as in plans."""


@MEMORY_ESTIMATES.register("OfArchitecture")
def of_architecture(configuration: ConfigurationFacts, patch: Sequence[int], architecture: dict[str, Any]) -> float:
    """What the architecture says of itself: of nnU-Net's U-Nets the same as FeatureMaps."""
    chosen, network = configuration.planner.network, class_name(architecture)
    of = chosen if chosen.network == network else of_network(network) or chosen
    dataset = configuration.dataset
    given = of, patch, architecture["arch_kwargs"], len(dataset.channels), dataset.outputs
    found: float = guarded("architecture", configuration.planner.architecture, estimate_of, *given)
    return found


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


def _first(value: int | Sequence[int]) -> int:
    return value if isinstance(value, int) else value[0]
