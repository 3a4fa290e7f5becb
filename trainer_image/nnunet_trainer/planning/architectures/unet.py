"""nnU-Net's U-Nets: v2's two, and v1's residual one, whose network is v2's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .architecture import ARCHITECTURES, Architecture, PlannedConfiguration, Reference, StageShapes
from .feature_maps import conv_feature_map_size, fabians_unet_size

NETWORK_CLASSES = {
    "PlainConvUNet": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "ResidualEncoderUNet": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
}


class UNet(Architecture):
    """What they have in common."""

    counts: str
    """The argument that has the convolutions or blocks of each encoder stage."""

    def describe(self, configuration: PlannedConfiguration, topology: StageShapes) -> dict[str, Any]:
        """In nnU-Net's order of keys."""
        encoder, decoder = configuration.convolutions(topology.stages)
        return {
            "network_class_name": NETWORK_CLASSES[self.network],
            "arch_kwargs": arguments(
                dimensions=len(topology.patch_size),
                features=configuration.features(topology.stages),
                kernel_sizes=topology.kernel_sizes,
                strides=topology.strides,
                blocks={self.counts: encoder},
                decoder=decoder,
            ),
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }

    def estimate(self, patch: Sequence[float], arch_kwargs: Mapping[str, Any], channels: int, outputs: int) -> float:
        """Numbers in the outputs of all convolutions."""
        return conv_feature_map_size([int(n) for n in patch], {"arch_kwargs": dict(arch_kwargs)}, outputs)


@ARCHITECTURES.register("PlainConvUNet")
class PlainConvUNet(UNet):
    """nnU-Net's default: plain convolutions. v1's 3 a stage: convolutionsPerStage {name: Same, encoder: 3, decoder: 3}."""

    network = "PlainConvUNet"
    counts = "n_conv_per_stage"
    reference = Reference(three=560_000_000, two=85_000_000)


@ARCHITECTURES.register("ResidualEncoderUNet")
class ResidualEncoderUNet(UNet):
    """nnU-Net v2's ResEnc: a residual encoder, a plain decoder."""

    network = "ResidualEncoderUNet"
    counts = "n_blocks_per_stage"
    reference = Reference(three=680_000_000, two=135_000_000)


@ARCHITECTURES.register("FabiansUNet")
class FabiansUNet(ResidualEncoderUNet):
    """v1's residual encoder, with v2's blocks; its estimate and references are v1's, of two patches."""

    reference = Reference(three=1_230_348_801, two=1_244_233_721 / 6)

    def estimate(self, patch: Sequence[float], arch_kwargs: Mapping[str, Any], channels: int, outputs: int) -> float:
        """FabiansUNet.compute_approx_vram_consumption."""
        return fabians_unet_size(
            patch,
            arch_kwargs["strides"],
            arch_kwargs["features_per_stage"],
            blocks=arch_kwargs["n_blocks_per_stage"],
            decoder=arch_kwargs["n_conv_per_stage_decoder"],
            channels=channels,
            outputs=outputs,
        )


def arguments(
    *,
    dimensions: int,
    features: list[int],
    kernel_sizes: list[Any],
    strides: list[Any],
    blocks: dict[str, Any],
    decoder: list[int],
) -> dict[str, Any]:
    """`arch_kwargs` of a U-Net, in nnU-Net's order of keys. `blocks` is the encoder's own argument and its value."""
    return {
        "n_stages": len(features),
        "features_per_stage": features,
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": kernel_sizes,
        "strides": strides,
        **blocks,
        "n_conv_per_stage_decoder": decoder,
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
