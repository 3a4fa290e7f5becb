"""A vision transformer over a grid of tokens: rotary positions, gated MLPs, stochastic depth (EVA-02, as Primus uses it).

Fang et al., "EVA-02: A visual representation for neon genesis", 2023. Tokens are BNC. Module names are those of timm's EVA blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 10_000.0
"""Of the slowest of the rotations."""


def rotary_angles(grid: Sequence[int], dimension: int) -> Tensor:
    """The angle by which each pair of a head's channels is turned at each place, (places, dimension / 2).

    Each axis of the grid has an equal share of the pairs; within it angles fall geometrically from the place itself.
    Su et al., "RoFormer: Enhanced transformer with rotary position embedding", 2021.

    Args:
        grid: tokens along each axis.
        dimension: channels of a head, a multiple of twice the number of axes.
    """
    bands = dimension // (2 * len(grid))
    speeds = TEMPERATURE ** -(torch.arange(bands, dtype=torch.float32) / bands)
    places = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in grid)).view(-1, len(grid))
    return (places[..., None] * speeds).flatten(1)


def rotate(x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels.

    Args:
        x: (b, heads, places, channels).
        sine: (places, channels / 2), as `cosine`.
    """
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, odd * cosine + even * sine), -1).flatten(-2).type_as(x)


class Attention(nn.Module):
    """Self-attention whose queries and keys are turned by their place; keys have no bias.

    Args:
        width: channels of a token.
        heads: of the attention.
        normalized: normalize what the heads give, before the projection.
    """

    def __init__(self, width: int, heads: int, *, normalized: bool) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width) if normalized else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
        queries, keys, values = (
            p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        queries, keys = rotate(queries, sine, cosine), rotate(keys, sine, cosine)
        heads = F.scaled_dot_product_attention(queries, keys, values)
        return self.proj(self.norm(heads.transpose(1, 2).flatten(2)))


class GatedMLP(nn.Module):
    """SwiGLU with a normalization before the last layer (Shazeer, "GLU variants improve transformer", 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(width, hidden)
        self.fc1_x = nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.norm(F.silu(self.fc1_g(x)) * self.fc1_x(x)))


class Block(nn.Module):
    """Attention and MLP, each normalized before, scaled and sometimes left out.

    Args:
        width: channels of a token.
        heads: of the attention.
        hidden: channels within the MLP.
        scale: what both residual branches are first multiplied by, learned per channel; None: not scaled.
        drop: probability that a sample skips a branch while training.
        normalized_heads: see `Attention`.
    """

    def __init__(self, width: int, heads: int, hidden: int, *, scale: float | None, drop: float, normalized_heads: bool) -> None:
        super().__init__()
        self.drop = drop
        self.gamma_1 = None if scale is None else nn.Parameter(torch.full((width,), scale))
        self.gamma_2 = None if scale is None else nn.Parameter(torch.full((width,), scale))
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, normalized=normalized_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = GatedMLP(width, hidden)

    def forward(self, x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
        x = x + self._sometimes(self.attn(self.norm1(x), sine, cosine), self.gamma_1)
        return x + self._sometimes(self.mlp(self.norm2(x)), self.gamma_2)

    def _sometimes(self, branch: Tensor, scale: Tensor | None) -> Tensor:
        """Stochastic depth (Huang et al., 2016): what is kept counts for what was left out."""
        branch = branch if scale is None else branch * scale
        if not self.training or self.drop == 0:
            return branch
        keep = 1 - self.drop
        return branch * (torch.rand(len(branch), 1, 1, device=branch.device) < keep).to(branch.dtype).div_(keep)


class Transformer(nn.Module):
    """Blocks over a grid of tokens (b, places, width), with learned positions besides the rotary ones."""

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        grid: Sequence[int],
        *,
        mlp_ratio: float,
        scale: float | None,
        drop: float,
        normalized_heads: bool,
    ) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(grid), width))
        angles = rotary_angles(grid, width // heads)
        self.register_buffer("sine", angles.sin(), persistent=False)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        hidden = int(width * mlp_ratio)
        # Deeper blocks are left out more often.
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, scale=scale, drop=drop * i / max(1, depth - 1), normalized_heads=normalized_heads)
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x, self.sine, self.cosine)
        return self.norm(x)

    def initialize(self) -> None:
        """Normal weights of standard deviation 0.02, those of each branch's last layer the smaller the deeper it lies."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        with torch.no_grad():
            for depth, block in enumerate(self.blocks, start=1):
                for last in (block.attn.proj, block.mlp.fc2):  # type: ignore[union-attr]
                    last.weight.div_(math.sqrt(2 * depth))  # type: ignore[union-attr, operator]
