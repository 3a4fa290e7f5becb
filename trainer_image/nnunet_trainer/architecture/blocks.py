"""Convolution blocks of the U-Nets. Tensors are BCHW or BCDHW."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import channels_last

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
AVERAGE_POOL = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ops:
    """What each convolution block is made of. `None` leaves an operation out."""

    dimension: int
    bias: bool = False
    norm: type[nn.Module] | None = None
    norm_kwargs: dict[str, Any]
    dropout: type[nn.Module] | None = None
    dropout_kwargs: dict[str, Any]
    nonlin: type[nn.Module] | None = None
    nonlin_kwargs: dict[str, Any]
    nonlin_first: bool = False

    def sized(self, value: int | Sequence[int]) -> list[int]:
        """A kernel size or stride with one entry an axis."""
        return [value] * self.dimension if isinstance(value, int) else [int(v) for v in value]


class ConvBlock(nn.Module):
    """Convolution, dropout, normalization, nonlinearity.

    Each operation is registered twice, by its name and in `all_modules`: nnU-Net's checkpoints have both keys.
    """

    normalized_by: channels_last.NormalizedBy = "torch"
    """See `normalize_by`."""

    def __init__(
        self,
        ops: Ops,
        channels_in: int,
        channels_out: int,
        kernel: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        *,
        bias: bool | None = None,
        dropout: bool = True,
        nonlin: bool = True,
    ) -> None:
        super().__init__()
        kernel, stride = ops.sized(kernel), ops.sized(stride)
        padding = [(k - 1) // 2 for k in kernel]
        bias = ops.bias if bias is None else bias
        self.conv = CONV[ops.dimension](channels_in, channels_out, kernel, stride, padding=padding, bias=bias)
        sequence: list[nn.Module] = [self.conv]
        if dropout and ops.dropout is not None:
            self.dropout = ops.dropout(**ops.dropout_kwargs)
            sequence.append(self.dropout)
        if ops.norm is not None:
            self.norm = ops.norm(channels_out, **ops.norm_kwargs)
            sequence.append(self.norm)
        if nonlin and ops.nonlin is not None:
            self.nonlin = ops.nonlin(**ops.nonlin_kwargs)
            sequence.append(self.nonlin)
            if ops.nonlin_first and ops.norm is not None:
                sequence[-2:] = [sequence[-1], sequence[-2]]
        self.all_modules = nn.Sequential(*sequence)

    def forward(self, x: Tensor) -> Tensor:
        return channels_last.run(self.all_modules, x, self.normalized_by)


def with_instance_norm(network: nn.Module) -> list[ConvBlock]:
    """The blocks to which `normalize_by` makes a difference."""
    blocks = (module for module in network.modules() if isinstance(module, ConvBlock))
    return [block for block in blocks if channels_last.is_instance_norm(getattr(block, "norm", nn.Identity()))]


def normalize_by(network: nn.Module, way: channels_last.NormalizedBy) -> None:
    """How its blocks normalize where channels lie last on a GPU.

    Raises:
        ImportError: there is no Triton, which `kernels` need.
    """
    if way == "kernels":
        importlib.import_module(f"{__package__}.fused_norm")  # not before: it imports Triton, which a CPU has no use for
    for block in with_instance_norm(network):
        block.normalized_by = way


class ConvStack(nn.Module):
    """Some `ConvBlock`s in a row; the first one strides."""

    def __init__(self, ops: Ops, count: int, channels_in: int, channels_out: int, kernel: Any, stride: Any = 1) -> None:
        super().__init__()
        blocks = [
            ConvBlock(ops, channels_in if i == 0 else channels_out, channels_out, kernel, stride if i == 0 else 1)
            for i in range(count)
        ]
        self.convs = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class ResidualBlock(nn.Module):
    """Two convolutions and a skip: average pooling where it strides, a 1×1 projection where the channels change (ResNet-D).

    He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks", CVPR 2019.
    """

    def __init__(self, ops: Ops, channels_in: int, channels_out: int, kernel: Any, stride: Any = 1) -> None:
        super().__init__()
        self.conv1 = ConvBlock(ops, channels_in, channels_out, kernel, stride)
        self.conv2 = ConvBlock(ops, channels_out, channels_out, kernel, dropout=False, nonlin=False)
        self.nonlin2 = ops.nonlin(**ops.nonlin_kwargs) if ops.nonlin is not None else nn.Identity()
        strides = ops.sized(stride)
        skip: list[nn.Module] = []
        if any(s != 1 for s in strides):
            skip.append(AVERAGE_POOL[ops.dimension](strides, strides))
        if channels_in != channels_out:
            skip.append(ConvBlock(ops, channels_in, channels_out, 1, bias=False, dropout=False, nonlin=False))
        # An empty Sequential is the identity, and has no keys, as in nnU-Net.
        self.skip = nn.Sequential(*skip)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.skip(x)
        out = self.conv2(self.conv1(x))
        return self.nonlin2(torch.add(out, residual))


class ResidualStack(nn.Module):
    """Some `ResidualBlock`s in a row; the first one strides."""

    def __init__(self, ops: Ops, count: int, channels_in: int, channels_out: int, kernel: Any, stride: Any = 1) -> None:
        super().__init__()
        blocks = [
            ResidualBlock(ops, channels_in if i == 0 else channels_out, channels_out, kernel, stride if i == 0 else 1)
            for i in range(count)
        ]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)
