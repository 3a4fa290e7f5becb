"""MedNeXt: a U-Net of ConvNeXt blocks that go down and up by residual blocks too.

Roy, Koehler, Ulrich et al., "MedNeXt: Transformer-driven scaling of ConvNets for medical image segmentation", MICCAI 2023 (arXiv
2303.09975). Tensors are BCHW or BCDHW. Module names are those of its published checkpoints, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .blocks import CONV, TRANSPOSED

Sizes = Sequence[int]


class MedNeXtBlock(nn.Module):
    """A depthwise convolution, a normalization of each channel, an expansion, GELU, a compression.

    Args:
        dimension: 2 or 3.
        channels_in: also those of the depthwise convolution.
        channels_out: after the compression.
        expansion: of the channels in between.
        kernel: of the depthwise convolution, odd along each axis.
        stride: along each axis, down or, with `up`, up.
        up: whether the depthwise convolution is a transposed one.
        resamples: whether the residual path is a strided convolution of one voxel; else it is the identity.
    """

    def __init__(
        self,
        dimension: int,
        channels_in: int,
        channels_out: int,
        expansion: int,
        kernel: Sizes,
        stride: Sizes | None = None,
        *,
        up: bool = False,
        resamples: bool = False,
    ) -> None:
        super().__init__()
        conv, spatial = CONV[dimension], TRANSPOSED[dimension] if up else CONV[dimension]
        kernel, stride = tuple(kernel), tuple(stride or (1,) * dimension)
        padding = tuple(k // 2 for k in kernel)
        self.conv1 = spatial(channels_in, channels_in, kernel, stride, padding, groups=channels_in)
        self.norm = nn.GroupNorm(channels_in, channels_in)
        self.conv2 = conv(channels_in, expansion * channels_in, 1)
        self.act = nn.GELU()
        self.conv3 = conv(expansion * channels_in, channels_out, 1)
        self.res_conv = spatial(channels_in, channels_out, 1, stride) if resamples else None
        # A transposed convolution gives stride * (n - 1) + 1 voxels: the rest is 0 at the beginning of each axis.
        self.missing = [n for s in reversed(stride) for n in (s - 1, 0)] if up else []

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv3(self.act(self.conv2(self.norm(self.conv1(x)))))
        residual = x if self.res_conv is None else self.res_conv(x)
        if self.missing:
            out, residual = F.pad(out, self.missing), F.pad(residual, self.missing)
        return out + residual


class SegmentationHead(nn.Module):
    """Logits from features, by a transposed convolution of one voxel as in the published checkpoints."""

    def __init__(self, dimension: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv_out = TRANSPOSED[dimension](channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(x)


class MedNeXt(nn.Module):
    """The network; lists are one entry a stage, those of the decoder from the deepest stage up.

    Args:
        channels_in: of the image.
        channels_out: segmentation heads.
        features: channels of each stage.
        kernels: of the depthwise convolutions of each stage.
        strides: of each stage, the first all 1.
        blocks: of each encoder stage; the last one is the bottleneck's.
        decoder_blocks: of each decoder stage.
        expansions: of each encoder stage.
        decoder_expansions: of each decoder stage.
        checkpointed: keep only what goes into each block for backward, and compute the rest of it again.
        deep_supervision: logits at all resolutions, the finest first, the bottleneck's too.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        features: Sequence[int],
        kernels: Sequence[Sizes],
        strides: Sequence[Sizes],
        blocks: Sequence[int],
        decoder_blocks: Sequence[int],
        expansions: Sequence[int],
        decoder_expansions: Sequence[int],
        checkpointed: bool,
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        dimension, self.depth = len(strides[0]), len(features) - 1
        self.deep_supervision, self.checkpointed = deep_supervision, checkpointed

        def stage(count: int, channels: int, expansion: int, kernel: Sizes) -> nn.Sequential:
            return nn.Sequential(*(MedNeXtBlock(dimension, channels, channels, expansion, kernel) for _ in range(count)))

        def resampling(stage: int, channels: tuple[int, int], expansion: int, *, up: bool) -> MedNeXtBlock:
            return MedNeXtBlock(dimension, *channels, expansion, kernels[stage], strides[stage], up=up, resamples=True)

        self.stem = CONV[dimension](channels_in, features[0], 1)
        for i in range(self.depth):
            self.add_module(f"enc_block_{i}", stage(blocks[i], features[i], expansions[i], kernels[i]))
            self.add_module(f"down_{i}", resampling(i + 1, (features[i], features[i + 1]), expansions[i + 1], up=False))
        self.bottleneck = stage(blocks[-1], features[-1], expansions[-1], kernels[-1])
        for i, count, expansion in zip(reversed(range(self.depth)), decoder_blocks, decoder_expansions, strict=True):
            self.add_module(f"up_{i}", resampling(i + 1, (features[i + 1], features[i]), expansion, up=True))
            self.add_module(f"dec_block_{i}", stage(count, features[i], expansion, kernels[i]))
        for i, channels in enumerate(features):
            self.add_module(f"out_{i}", SegmentationHead(dimension, channels, channels_out))
        # Unused here; the published checkpoints have it.
        self.register_buffer("dummy_tensor", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        x, skips, outputs = self.stem(x), [], []
        for i in range(self.depth):
            skips.append(self._run(f"enc_block_{i}", x))
            x = self._run(f"down_{i}", skips[-1])
        x = self._run("bottleneck", x)
        for i in reversed(range(self.depth)):
            if self.deep_supervision:
                outputs.append(self.get_submodule(f"out_{i + 1}")(x))
            x = self._run(f"dec_block_{i}", self._run(f"up_{i}", x) + skips.pop())
        finest = self.get_submodule("out_0")(x)
        return [finest, *reversed(outputs)] if self.deep_supervision else finest

    def _run(self, name: str, x: Tensor) -> Tensor:
        module = self.get_submodule(name)
        if not (self.checkpointed and torch.is_grad_enabled()):
            return module(x)
        for block in module if isinstance(module, nn.Sequential) else [module]:
            x = checkpoint(block, x, use_reentrant=False)
        return x

    @property
    def heads(self) -> list[nn.Module]:
        """What makes the logits of each resolution, the coarsest first."""
        return [self.get_submodule(f"out_{i}") for i in reversed(range(self.depth + 1))]

    def adapted(self, key: str, theirs: Tensor, ours: Tensor) -> tuple[Tensor, str] | None:
        """UpKern: the weights of a depthwise convolution with a smaller kernel, enlarged linearly; None: it is something else.

        Returns:
            The weights, and what was done, for the report of what was loaded.
        """
        kernels = theirs.shape[2:], ours.shape[2:]
        larger = all(t <= o for t, o in zip(*kernels, strict=False))
        if not key.endswith("conv1.weight") or theirs.dim() != ours.dim() or theirs.shape[:2] != ours.shape[:2] or not larger:
            return None
        mode = {2: "bilinear", 3: "trilinear"}[ours.dim() - 2]
        said = " to ".join("×".join(map(str, kernel)) for kernel in kernels)
        return F.interpolate(theirs.float(), ours.shape[2:], mode=mode), f"kernel {said} by UpKern"

    def initialize(self) -> None:
        """Torch's own initial weights, as in the paper."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.GroupNorm):
                module.reset_parameters()


REQUIRED = (
    *("n_stages", "features_per_stage", "kernel_sizes", "strides", "n_blocks_per_stage", "n_blocks_per_stage_decoder"),
    *("expansion_per_stage", "expansion_per_stage_decoder"),
)
"""Arguments of plans."""
KNOWN = (*REQUIRED, "conv_op", "checkpointed")


def of_arguments(kwargs: dict[str, Any], channels_in: int, channels_out: int, deep_supervision: bool) -> MedNeXt:
    """A network from plans whose lists are of the right lengths."""
    return MedNeXt(
        channels_in,
        channels_out,
        features=kwargs["features_per_stage"],
        kernels=kwargs["kernel_sizes"],
        strides=kwargs["strides"],
        blocks=kwargs["n_blocks_per_stage"],
        decoder_blocks=kwargs["n_blocks_per_stage_decoder"],
        expansions=kwargs["expansion_per_stage"],
        decoder_expansions=kwargs["expansion_per_stage_decoder"],
        checkpointed=bool(kwargs.get("checkpointed", False)),
        deep_supervision=deep_supervision,
    )
