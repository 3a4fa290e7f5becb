"""What networks ask of a patch: known before one is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..faults import BadConfiguration

TOKENS: dict[str, tuple[int, ...]] = dict.fromkeys(("Primus", "PrimusV2", "PrimusV3"), (8, 8, 8))
"""Transformers, and the voxels that become one token."""
PRIMUS_SIZES = {"S": (396, 12, 6), "B": (792, 12, 12), "M": (864, 16, 12), "L": (1056, 24, 16)}
"""Width, depth and heads of the published sizes."""


def check_patch(network: Mapping[str, Any], patch: Sequence[int]) -> None:
    """Whether a recipe's network can be trained on a configuration's patch.

    Args:
        network: the field `network` of a recipe, as data.
        patch: z, y, x or y, x.

    Raises:
        BadConfiguration: it cannot.
    """
    name = str(network.get("network")).rpartition(".")[2]
    if name in TOKENS:
        check_shape(name, patch, (network.get("archKwargs") or {}).get("patch_embed_size", TOKENS[name]))


def check_shape(name: str, shape: Sequence[int], token: Sequence[int] = (8, 8, 8)) -> None:
    """Raise BadConfiguration unless a patch of voxels can be cut into tokens."""
    size, wanted = "×".join(map(str, shape)), "×".join(map(str, token))
    if len(shape) != len(token):
        raise BadConfiguration(
            "NetworkDoesNotFit",
            f"{name} is a network for 3D patches; this configuration's patch is {size}.",
            hint="Train a 3D configuration, or a U-Net.",
        )
    if any(n % t for n, t in zip(shape, token, strict=True)):
        fitting = [max(t, round(n / t) * t) for n, t in zip(shape, token, strict=True)]
        raise BadConfiguration(
            "NetworkDoesNotFit",
            f"{name} cuts the patch into tokens of {wanted} voxels; {size} is no multiple of that.",
            hint=f"Give the configuration a patch_size that is, in the plans (spec.patch): {fitting}.",
        )
