"""Which parameters train, and at which rate: freezing, learning-rate factors by name pattern, layer-wise decay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from nnunet_trainer.contract.faults import BadConfiguration

_ENCODER = re.compile(r"encoder\.stages\.(\d+)\.")
_DECODER = re.compile(r"decoder\.(?:stages|transpconvs)\.(\d+)\.")


def matching(network: nn.Module, patterns: Sequence[str], field: str) -> list[str]:
    """Names of the parameters that a shell pattern fits.

    Raises:
        BadConfiguration: a pattern fits nothing.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            parts = sorted({".".join(name.split(".")[:2]) for name in names})
            raise BadConfiguration(
                "InvalidRecipe", f"recipe.{field}: no parameter fits {pattern!r}.", hint=f"The network has: {', '.join(parts)}."
            )
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def freeze(network: nn.Module, frozen: Sequence[str], unused_heads: Sequence[nn.Module] = ()) -> None:
    """Let all parameters train but the frozen ones and those of heads whose output does not count.

    A batch normalization whose parameters are frozen keeps its running statistics too: call this after `network.train()`.

    Raises:
        BadConfiguration: that is all of them.
    """
    names = set(frozen)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in names)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine and not module.weight.requires_grad:
            module.eval()
    for head in unused_heads:
        head.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise BadConfiguration(
            "InvalidRecipe",
            f"recipe.freezing.patterns: they fit every parameter, nothing is left to train ({len(names)} are frozen).",
            hint="Leave something out, such as decoder.seg_layers.*, the segmentation layers.",
        )


def groups(network: nn.Module, factors: Mapping[str, float], layer_decay: float = 1.0) -> tuple[list[dict[str, Any]], list[float]]:
    """Parameter groups for the optimizer and each one's learning-rate factor, the group of factor 1 first.

    Without factors and decay this is one group, in nnU-Net's order.

    Args:
        network: a U-Net with nnU-Net's names if there is a decay.
        factors: shell patterns of names, and what their rate is multiplied by; the first that fits counts.
        layer_decay: each layer nearer the input learns at this times the rate of the next one; see `layers`.

    Raises:
        BadConfiguration: a pattern fits nothing; there is a decay and the network has no stages.
    """
    matching(network, list(factors), "learningRateFactors")
    depth = layers(network) if layer_decay != 1 else {}
    last = max(depth.values(), default=0)
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        factor = next((f for pattern, f in factors.items() if fnmatchcase(name, pattern)), 1.0)
        if depth:
            factor *= layer_decay ** (last - depth[name])
        by_factor.setdefault(factor, []).append(parameter)
    ordered = sorted(by_factor, key=lambda factor: factor != 1.0)
    return [{"params": by_factor[factor]} for factor in ordered], ordered


def layers(network: nn.Module) -> dict[str, int]:
    """For each parameter the layer that it is in, counted along the way from the image to the segmentation.

    0 is the stem (or the first stage), then the encoder's stages, then the decoder's from the bottleneck up (each with its
    transposed convolution), then all segmentation layers together. As in Howard and Ruder, "Universal Language Model
    Fine-tuning for Text Classification", ACL 2018.

    Raises:
        BadConfiguration: the network is none of encoder and decoder stages.
    """
    names = [name for name, _ in network.named_parameters()]
    stages = [int(match[1]) for name in names if (match := _ENCODER.match(name))]
    ups = [int(match[1]) for name in names if (match := _DECODER.match(name))]
    if not stages or not ups:
        raise BadConfiguration(
            "InvalidRecipe",
            f"recipe.layerDecay: {type(network).__name__} has no encoder.stages and decoder.stages to count.",
            hint="Give each part its rate by recipe.learningRateFactors.",
        )
    stem = any(name.startswith("encoder.stem.") for name in names)
    first_up = stem + max(stages) + 1

    def layer(name: str) -> int:
        if match := _ENCODER.match(name):
            return stem + int(match[1])
        if match := _DECODER.match(name):
            return first_up + int(match[1])
        return 0 if name.startswith("encoder.") else first_up + max(ups) + 1

    return {name: layer(name) for name in names}
