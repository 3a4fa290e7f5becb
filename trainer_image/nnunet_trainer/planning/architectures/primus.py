"""Primus, a transformer over tokens of 8×8×8 voxels, as planners know it (`architecture/primus.py` is the network)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from nnunet_trainer.contract.catalogue.networks import PRIMUS_SIZES

from .architecture import ARCHITECTURES, Architecture, PlannedConfiguration, Reference, StageShapes
from .unet import PlainConvUNet

ARGUMENTS: dict[str, Any] = {"patch_embed_size": [8, 8, 8], "drop_path_rate": 0.2, "scale_attn_inner": True, "init_values": 0.1}
"""Of every published Primus, whatever its size."""
EMBEDDINGS: dict[str, tuple[int, ...]] = {"Primus": (), "PrimusV2": (32, 32, 64, 128), "PrimusV3": (32, 64, 256, 1024)}
"""Channels of the residual blocks before the tokens, at full, half, quarter and eighth resolution."""

PER_TOKEN = 14.0
"""What backward needs of each channel of a token in each block, in numbers of a U-Net's feature maps.

Its layers keep about 70 bytes in half precision (norms in single), such a number takes 5.3; `nnunet-trainer calibrate` measures it.
"""
WEIGHT_BYTES = 16
"""Of a weight in single precision, its gradient, and two moments."""
BYTES = 8e9 / (2 * 560_000_000)
"""Of a number of a U-Net's feature maps, by nnU-Net's reference: two patches of 560 million fill 8 GB."""


def arguments(size: str, shape: Sequence[int]) -> dict[str, Any]:
    """`arch_kwargs` of a published size for a patch."""
    width, depth, heads = PRIMUS_SIZES[size]
    return {
        "embed_dim": width,
        "eva_depth": depth,
        "eva_numheads": heads,
        **copy.deepcopy(ARGUMENTS),
        "input_shape": list(shape),
    }


@ARCHITECTURES.register("Primus")
class Primus(Architecture):
    """A transformer for volumes of a multiple of 8 voxels (pooling: EveryAxis); slices get a plain U-Net."""

    network = "Primus"
    reference = Reference(three=560_000_000, two=85_000_000)

    def __init__(self, *, size: Literal["S", "B", "M", "L"] = "M") -> None:
        self.size = size

    def describe(self, configuration: PlannedConfiguration, topology: StageShapes) -> dict[str, Any]:
        """Of the patch, all of which the transformer sees at once."""
        if configuration.two:
            return PlainConvUNet().describe(configuration, topology)
        path = f"dynamic_network_architectures.architectures.primus.{self.network}"
        return {
            "network_class_name": path,
            "arch_kwargs": arguments(self.size, topology.patch_size),
            "_kw_requires_import": [],
        }

    def estimate(self, patch: Sequence[float], arch_kwargs: Mapping[str, Any], channels: int, outputs: int) -> float:
        """What backward needs of one patch, and half of the weights with their gradients and AdamW's moments (a batch is of two).

        In the bytes of a U-Net's feature maps, so that nnU-Net's references are this one's too: with fused attention there is
        nothing that grows by the square of the tokens.
        """
        width, depth, token = arch_kwargs["embed_dim"], arch_kwargs["eva_depth"], arch_kwargs["patch_embed_size"]
        voxels, places = math.prod(patch), math.prod(patch) / math.prod(token)
        blocks = PER_TOKEN * places * width * depth
        hidden = arch_kwargs.get("mlp_ratio", 8 / 3) * width
        weights = depth * (4 * width**2 + 3 * hidden * width) * WEIGHT_BYTES / (2 * BYTES)
        # Residual blocks of two convolutions and a projection; the decoder's transposed convolutions with their norms.
        embedding = sum(3 * voxels / 8**level * features for level, features in enumerate(EMBEDDINGS[self.network]))
        decoder = voxels * outputs + 3 * places * width
        return blocks + weights + embedding + decoder


@ARCHITECTURES.register("PrimusV2")
class PrimusV2(Primus):
    """Primus whose tokens come from residual blocks."""

    network = "PrimusV2"


@ARCHITECTURES.register("PrimusV3")
class PrimusV3(Primus):
    """Primus whose tokens come from residual blocks at every resolution."""

    network = "PrimusV3"
