"""Which parameters train, and at which rate: freezing and learning-rate factors by name pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from nnunet_trainer.contract.faults import BadConfiguration


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

    Raises:
        BadConfiguration: that is all of them.
    """
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for head in unused_heads:
        head.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise BadConfiguration("InvalidRecipe", "recipe.freezing.patterns: they fit every parameter, nothing is left to train.")


def groups(network: nn.Module, factors: Mapping[str, float]) -> tuple[list[dict[str, Any]], list[float]]:
    """Parameter groups for the optimizer and each one's learning-rate factor. Without factors one group, in nnU-Net's order."""
    matching(network, list(factors), "learningRateFactors")
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        factor = next((f for pattern, f in factors.items() if fnmatchcase(name, pattern)), 1.0)
        by_factor.setdefault(factor, []).append(parameter)
    return [{"params": parameters} for parameters in by_factor.values()], list(by_factor)
