"""MedNeXt, a U-Net of ConvNeXt blocks, as planners know it (`architecture/mednext.py` is the network).

Roy, Koehler, Ulrich et al., MICCAI 2023 (arXiv 2303.09975).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .architecture import ARCHITECTURES, Architecture, PlannedConfiguration, Reference, StageShapes
from .unet import PlainConvUNet

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], bool]] = {
    "S": ((2,) * 5, (2,) * 5, False),
    "B": ((2,) * 5, (2, 3, 4, 4, 4), False),
    "M": ((3, 4, 4, 4, 4), (2, 3, 4, 4, 4), True),
    "L": ((3, 4, 8, 8, 8), (3, 4, 8, 8, 8), True),
}
"""Blocks and expansions of the encoder's stages and the bottleneck, which the decoder mirrors; whether blocks are checkpointed."""


@ARCHITECTURES.register("MedNeXt")
class MedNeXt(Architecture):
    """The paper's sizes S, B, M and L with kernel 3 or 5: five stages where a patch has room for four poolings (maxPooling: 4)."""

    network = "MedNeXt"
    # A U-Net's number takes 10.4 bytes in single precision, MedNeXt's 6.9 (counted by training.calibration), two thirds; in half
    # precision its normalizations stay in single: three quarters. `nnunet-trainer calibrate` measures it on a GPU at hand.
    reference = Reference(three=PlainConvUNet.reference.three / 0.75, two=PlainConvUNet.reference.two / 0.75)

    def __init__(self, *, size: Literal["S", "B", "M", "L"] = "S", kernel: Literal[3, 5] = 3) -> None:
        self.size = size
        self.kernel = kernel

    def describe(self, configuration: PlannedConfiguration, topology: StageShapes) -> dict[str, Any]:
        """A kernel is 1 along an axis where the topology's is; else it is the paper's."""
        stages, (blocks, expansions, checkpointed) = topology.stages, SIZES[self.size]
        encoder, widening = (list(each[:stages]) + [each[-1]] * (stages - 5) for each in (blocks, expansions))
        return {
            "network_class_name": self.network,
            "arch_kwargs": {
                "n_stages": stages,
                "features_per_stage": configuration.features(stages),
                "conv_op": f"torch.nn.modules.conv.Conv{len(topology.patch_size)}d",
                "kernel_sizes": [[self.kernel if k > 1 else 1 for k in row] for row in topology.kernel_sizes],
                "strides": topology.strides,
                "n_blocks_per_stage": encoder,
                "n_blocks_per_stage_decoder": encoder[-2::-1],
                "expansion_per_stage": widening,
                "expansion_per_stage_decoder": widening[-2::-1],
                "checkpointed": checkpointed,
            },
            "_kw_requires_import": [],
        }

    def estimate(self, patch: Sequence[float], arch_kwargs: Mapping[str, Any], channels: int, outputs: int) -> float:
        """Numbers in the outputs of all convolutions; of checkpointed blocks what goes into each, and the largest one whole."""
        features = arch_kwargs["features_per_stage"]
        size, voxels = list(patch), []
        for row in arch_kwargs["strides"]:
            size = [n / s for n, s in zip(size, row, strict=True)]
            voxels.append(math.prod(size))
        depth = len(features) - 1
        blocks: list[tuple[float, float]] = []  # what goes in, what is made
        stages = [*range(depth + 1), *reversed(range(depth))]
        counts = [*arch_kwargs["n_blocks_per_stage"], *arch_kwargs["n_blocks_per_stage_decoder"]]
        expansions = [*arch_kwargs["expansion_per_stage"], *arch_kwargs["expansion_per_stage_decoder"]]
        before = 0
        for i, count, expansion in zip(stages, counts, expansions, strict=True):
            if i != before:  # down, or up: its depthwise convolution and expansion are of the channels that go in
                wide = (1 + expansion) * features[before] + 2 * features[i]
                blocks.append((voxels[before] * features[before], voxels[i] * wide))
            blocks += [(voxels[i] * features[i], (2 + expansion) * voxels[i] * features[i])] * count
            before = i
        around = voxels[0] * (features[0] + outputs)
        if arch_kwargs.get("checkpointed"):
            return around + sum(given for given, _ in blocks) + max(made for _, made in blocks)
        return around + sum(made for _, made in blocks)

    def output_strides(self, arch_kwargs: Mapping[str, Any]) -> list[Any]:
        """Of all stages: the bottleneck has an output too."""
        return list(arch_kwargs["strides"])
