"""Primus: a transformer over patches of 8×8×8 voxels, with a light decoder.

Wald, Roy, Isensee et al., "Primus: Enforcing attention usage for 3D medical image segmentation", 2025. Tensors are BCDHW. Module
names are nnU-Net's, so that weights go both ways.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_trainer.contract.catalogue.networks import check_shape
from nnunet_trainer.contract.faults import BadConfiguration

from .blocks import Ops, ResidualStack
from .transformer import Transformer


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of each voxel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, 1e-6).movedim(-1, 1)


class PatchEmbedding(nn.Module):
    """One convolution from a patch of voxels to a token."""

    def __init__(self, channels_in: int, width: int, patch: Sequence[int]) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels_in, width, tuple(patch), tuple(patch))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class ConvolutionalEmbedding(nn.Module):
    """Residual blocks down to an eighth of the resolution, then a projection to tokens (Primus V2 and V3).

    Args:
        channels_in: of the image.
        width: of a token.
        features: channels at full, half, quarter and eighth resolution.
        nonlin: after each convolution.
        skips: add each finer resolution to the tokens too, by a learned scale that begins near 0.
    """

    def __init__(self, channels_in: int, width: int, features: Sequence[int], nonlin: type[nn.Module], *, skips: bool) -> None:
        super().__init__()
        shared = {
            "dimension": 3,
            "norm": nn.InstanceNorm3d,
            "norm_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_kwargs": {},
            "nonlin": nonlin,
            "nonlin_kwargs": {"inplace": True},
        }
        first, *further = features
        self.stem = ResidualStack(Ops(bias=True, **shared), 1, channels_in, first, 3)  # type: ignore[arg-type]
        pairs = zip(features, further, strict=False)
        self.stages = nn.ModuleList(ResidualStack(Ops(**shared), 1, i, o, 3, 2) for i, o in pairs)  # type: ignore[arg-type]
        self.final_proj = nn.Conv3d(further[-1], width, 1)
        levels = len(further)
        down = [2 ** (levels - i) for i in range(levels)] if skips else []
        if skips:
            self.proj_to_tokens = nn.ModuleList(nn.Conv3d(n, width, d, d) for n, d in zip(features, down, strict=False))
            self.scale_proj_to_tokens = nn.ParameterList(nn.Parameter(torch.tensor(1e-5)) for _ in down)
        self.skips = skips

    def forward(self, x: Tensor) -> Tensor:
        finer = [self.stem(x)]
        for stage in self.stages:
            finer.append(stage(finer[-1]))
        tokens = self.final_proj(finer.pop())
        if self.skips:
            tokens = tokens + sum(
                scale * project(level)
                for scale, project, level in zip(self.scale_proj_to_tokens, self.proj_to_tokens, finer, strict=True)
            )
        return tokens


class PatchDecoder(nn.Module):
    """Transposed convolutions from tokens back to voxels, with as many channels fewer each time."""

    def __init__(self, width: int, channels_out: int, patch: Sequence[int]) -> None:
        super().__init__()
        steps = int(math.log2(max(patch)))
        strides = [[2 if (n / 2**step) % 2 == 0 else 1 for n in patch] for step in reversed(range(steps))]
        shrink = (width / (2 * channels_out)) ** (1 / steps)
        between = [max(8, round((width / shrink**step + 1e-6) / 8) * 8) for step in range(1, steps)]
        channels = [width, *between, channels_out]
        stages: list[nn.Module] = []
        for step, stride in enumerate(strides):
            up = nn.ConvTranspose3d(channels[step], channels[step + 1], tuple(stride), tuple(stride))
            stages.append(up if step == steps - 1 else nn.Sequential(up, ChannelNorm(channels[step + 1]), nn.GELU()))
        self.decode = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(x)


class Primus(nn.Module):
    """A transformer on tokens of one convolution each.

    Args:
        channels_in: of the image.
        channels_out: segmentation heads.
        embed_dim: channels of a token.
        input_shape: voxels that the network sees; the positions are learned for it.
        patch_embed_size: voxels of a token.
        eva_depth: transformer blocks.
        eva_numheads: heads of each attention.
        mlp_ratio: channels within an MLP, of those of a token.
        drop_path_rate: how often a sample skips a branch of the last block while training; of the first: never.
        scale_attn_inner: normalize what the heads give.
        init_values: what residual branches are first multiplied by.

    Raises:
        BadConfiguration: the shape cannot be cut into tokens, or the width not into heads.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        embed_dim: int,
        input_shape: Sequence[int],
        patch_embed_size: Sequence[int] = (8, 8, 8),
        eva_depth: int = 24,
        eva_numheads: int = 16,
        mlp_ratio: float = 8 / 3,
        drop_path_rate: float = 0.0,
        scale_attn_inner: bool = False,
        init_values: float | None = None,
    ) -> None:
        super().__init__()
        check_shape(type(self).__name__, input_shape, patch_embed_size)
        if embed_dim % (6 * eva_numheads):
            raise BadConfiguration(
                "InvalidPlans",
                f"arch_kwargs: embed_dim is {embed_dim}; {eva_numheads} heads of a multiple of 6 channels each were expected.",
            )
        self.down_projection = self._embedding(channels_in, embed_dim, patch_embed_size)
        self.up_projection = PatchDecoder(embed_dim, channels_out, patch_embed_size)
        self.eva = Transformer(
            embed_dim,
            eva_depth,
            eva_numheads,
            [n // p for n, p in zip(input_shape, patch_embed_size, strict=True)],
            mlp_ratio=mlp_ratio,
            scale=init_values,
            drop=drop_path_rate,
            normalized_heads=scale_attn_inner,
        )
        # Unused here; nnU-Net's checkpoints have it, for pretraining with masked patches.
        self.register_buffer("mask_token", torch.zeros(1, 1, embed_dim))

    @staticmethod
    def _embedding(channels_in: int, width: int, patch: Sequence[int]) -> nn.Module:
        return PatchEmbedding(channels_in, width, patch)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.down_projection(x)
        places = self.eva(tokens.flatten(2).transpose(1, 2))
        return self.up_projection(places.transpose(1, 2).reshape(tokens.shape))

    def initialize(self, negative_slope: float = 1e-2) -> None:
        """He initialization for the convolutions, small normal weights for the transformer."""
        for part in (self.down_projection, self.up_projection):
            for module in part.modules():
                if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                    nn.init.kaiming_normal_(module.weight, a=negative_slope)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
        self.eva.initialize()


class PrimusV2(Primus):
    """Primus whose tokens come from residual blocks."""

    @staticmethod
    def _embedding(channels_in: int, width: int, patch: Sequence[int]) -> nn.Module:
        _check_token(patch)
        return ConvolutionalEmbedding(channels_in, width, (32, 32, 64, 128), nn.ReLU, skips=False)


class PrimusV3(Primus):
    """Primus whose tokens come from wider residual blocks, from every resolution of them."""

    @staticmethod
    def _embedding(channels_in: int, width: int, patch: Sequence[int]) -> nn.Module:
        _check_token(patch)
        return ConvolutionalEmbedding(channels_in, width, (32, 64, 256, 1024), nn.LeakyReLU, skips=True)


def _check_token(patch: Sequence[int]) -> None:
    if tuple(patch) != (8, 8, 8):
        raise BadConfiguration(
            "InvalidPlans",
            f"arch_kwargs: patch_embed_size is {list(patch)}; this network halves the resolution three times: [8, 8, 8].",
        )
