"""What a network and a patch take of a GPU's memory, in the unit of a planner's references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Registry

from ..architectures import class_name, estimate_of, of_network
from ..architectures.feature_maps import conv_feature_map_size, fabians_unet_size, generic_unet_size
from .facts import ConfigurationFacts
from .steps import guarded

_STAGES = (("strides",), ("features_per_stage",))
_BLOCKS = ("n_blocks_per_stage", "n_conv_per_stage")
_DECODER = ("n_conv_per_stage_decoder",)
"""Arguments of nnU-Net's U-Nets, each by its names."""

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
    _of_unet("FeatureMaps", architecture, *_STAGES, _BLOCKS, _DECODER)
    return conv_feature_map_size(patch, architecture, configuration.dataset.outputs)


@MEMORY_ESTIMATES.register("GenericUNet")
def generic_unet(configuration: ConfigurationFacts, patch: Sequence[int], architecture: dict[str, Any]) -> float:
    """v1's Generic_UNet.compute_approx_vram_consumption."""
    given = _of_unet("GenericUNet", architecture, *_STAGES)
    return generic_unet_size(
        patch,
        given["strides"],
        given["features_per_stage"],
        convolutions=first_convolutions(given),
        channels=len(configuration.dataset.channels),
        outputs=configuration.dataset.outputs,
    )


@MEMORY_ESTIMATES.register("FabiansUNet")
def fabians_unet(configuration: ConfigurationFacts, patch: Sequence[float], architecture: dict[str, Any]) -> float:
    """v1's FabiansUNet.compute_approx_vram_consumption, which is of a batch of two."""
    given = _of_unet("FabiansUNet", architecture, *_STAGES, _BLOCKS, _DECODER)
    return fabians_unet_size(
        patch,
        given["strides"],
        given["features_per_stage"],
        blocks=given.get("n_blocks_per_stage", given.get("n_conv_per_stage")),
        decoder=given["n_conv_per_stage_decoder"],
        channels=len(configuration.dataset.channels),
        outputs=configuration.dataset.outputs,
    )


def first_convolutions(arch_kwargs: Mapping[str, Any]) -> int:
    """Of a U-Net's first stage; v1's two where its arguments do not say them."""
    found = arch_kwargs.get("n_conv_per_stage", 2)
    return found if isinstance(found, int) else found[0]


def _of_unet(estimate: str, architecture: Mapping[str, Any], *needed: tuple[str, ...]) -> Mapping[str, Any]:
    """A network's arguments, among which an estimate needs one of each of these."""
    given: Mapping[str, Any] = architecture["arch_kwargs"]
    lacking = [" or ".join(names) for names in needed if not any(name in given for name in names)]
    if lacking:
        raise BadConfiguration(
            "InvalidParameter",
            f"The memory estimate {estimate} needs a U-Net's arguments; {class_name(architecture)} has no {', '.join(lacking)}.",
            hint="Leave memoryEstimate out, or give OfArchitecture: the architecture then says itself what it takes.",
        )
    return given
