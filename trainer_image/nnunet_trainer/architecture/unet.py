"""nnU-Net's two U-Nets, with its module names: weights go both ways, and optimizer states too (same order of parameters)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, cat, nn

from . import channels_last
from .blocks import CONV, TRANSPOSED, ConvStack, Ops, ResidualBlock, ResidualStack


class PlainConvEncoder(nn.Module):
    """Stages of plain convolutions; `forward` returns the output of each, the finest first."""

    def __init__(
        self, ops: Ops, channels_in: int, features: Sequence[int], kernels: Sequence, strides: Sequence, counts: Sequence[int]
    ) -> None:
        super().__init__()
        inputs = [channels_in, *features[:-1]]
        stages = zip(counts, inputs, features, kernels, strides, strict=True)
        # Each stage is a Sequential of one stack: nnU-Net has a place for pooling there.
        self.stages = nn.Sequential(*(nn.Sequential(ConvStack(ops, n, i, o, k, s)) for n, i, o, k, s in stages))

    def forward(self, x: Tensor) -> list[Tensor]:
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        return skips


class ResidualEncoder(nn.Module):
    """A stem of one convolution, then stages of residual blocks; `forward` returns the output of each stage."""

    def __init__(
        self, ops: Ops, channels_in: int, features: Sequence[int], kernels: Sequence, strides: Sequence, counts: Sequence[int]
    ) -> None:
        super().__init__()
        self.stem = ConvStack(ops, 1, channels_in, features[0], kernels[0])
        inputs = [features[0], *features[:-1]]
        stages = zip(counts, inputs, features, kernels, strides, strict=True)
        self.stages = nn.Sequential(*(ResidualStack(ops, n, i, o, k, s) for n, i, o, k, s in stages))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        return skips


class UNetDecoder(nn.Module):
    """Transposed convolution, concatenation with the skip, convolutions, a segmentation head: from the bottleneck up.

    Heads exist at every resolution whether or not deep supervision is on, so that weights fit either way. The encoder is a
    submodule here too: nnU-Net's checkpoints have its keys twice.
    """

    def __init__(
        self,
        ops: Ops,
        encoder: nn.Module,
        num_classes: int,
        features: Sequence[int],
        kernels: Sequence,
        strides: Sequence,
        counts: Sequence[int],
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        self.encoder = encoder
        stages, transpconvs, heads = [], [], []
        for i, count in enumerate(counts, start=1):
            below, skip, stride = features[-i], features[-i - 1], ops.sized(strides[-i])
            transpconvs.append(TRANSPOSED[ops.dimension](below, skip, stride, stride, bias=ops.bias))
            stages.append(ConvStack(ops, count, 2 * skip, skip, kernels[-i - 1]))
            heads.append(CONV[ops.dimension](skip, num_classes, 1, bias=True))
        self.stages = nn.ModuleList(stages)
        self.transpconvs = nn.ModuleList(transpconvs)
        self.seg_layers = nn.ModuleList(heads)

    def forward(self, skips: list[Tensor]) -> Tensor | list[Tensor]:
        """Logits, at every resolution (the finest first) with deep supervision."""
        if not self.deep_supervision:
            return channels_last.run(self.seg_layers[-1:], self.features(skips))
        x, outputs = skips[-1], []
        for i, head in enumerate(self.seg_layers):
            x = self._up(i, x, skips)
            outputs.append(channels_last.run([head], x))
        return outputs[::-1]

    def features(self, skips: list[Tensor]) -> Tensor:
        """The finest feature maps."""
        x = skips[-1]
        for i in range(len(self.stages)):
            x = self._up(i, x, skips)
        return x

    def _up(self, i: int, x: Tensor, skips: list[Tensor]) -> Tensor:
        return self.stages[i](cat((self.transpconvs[i](x), skips[-2 - i]), dim=1))


class UNet(nn.Module):
    """An encoder and its decoder. `deep_supervision` of the decoder may be switched at any time."""

    encoder_type: type[nn.Module]

    def __init__(
        self,
        ops: Ops,
        channels_in: int,
        num_classes: int,
        *,
        features: Sequence[int],
        kernels: Sequence,
        strides: Sequence,
        counts: Sequence[int],
        decoder_counts: Sequence[int],
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        self.encoder = self.encoder_type(ops, channels_in, features, kernels, strides, counts)
        self.decoder = UNetDecoder(ops, self.encoder, num_classes, features, kernels, strides, decoder_counts, deep_supervision)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        return self.decoder(self.encoder(x))

    def features(self, x: Tensor) -> Tensor:
        """The finest feature maps (b, features, *patch), of which the segmentation layer makes the logits."""
        return self.decoder.features(self.encoder(x))

    @property
    def segmentation_layer(self) -> nn.Module:
        """The convolution of one voxel that makes the finest logits."""
        return self.decoder.seg_layers[-1]

    @property
    def heads(self) -> list[nn.Module]:
        """What makes the logits of each resolution, the coarsest first."""
        return list(self.decoder.seg_layers)

    @property
    def deep_supervision(self) -> bool:
        """Whether `forward` returns a list, one output a resolution."""
        return self.decoder.deep_supervision

    @deep_supervision.setter
    def deep_supervision(self, on: bool) -> None:
        self.decoder.deep_supervision = on

    def initialize(self, negative_slope: float = 1e-2) -> None:
        """He initialization for leaky ReLU of this slope (0: ReLU), biases zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, a=negative_slope)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class PlainConvUNet(UNet):
    """nnU-Net's default: convolutions, instance normalization, leaky ReLU; strided convolutions go down."""

    encoder_type = PlainConvEncoder


class ResidualEncoderUNet(UNet):
    """The "ResEnc" U-Net: a residual encoder, a plain decoder."""

    encoder_type = ResidualEncoder

    def initialize(self, negative_slope: float = 1e-2, zero_residuals: bool = True) -> None:
        """As the plain U-Net's; each residual block begins as the identity (its last normalization is zero), if wanted."""
        super().initialize(negative_slope)
        for module in self.modules() if zero_residuals else ():
            if isinstance(module, ResidualBlock) and getattr(module.conv2, "norm", None) is not None:
                for parameter in module.conv2.norm.parameters(recurse=False):
                    nn.init.zeros_(parameter)
