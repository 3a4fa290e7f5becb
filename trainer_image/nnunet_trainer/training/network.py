"""A recipe's changes of the plans' architecture, in the plans' own words, so that nnU-Net rebuilds the same network from them."""

from __future__ import annotations

import copy
from typing import Any

from .recipe import NetworkChanges

_NONLINEARITIES = {
    "LeakyReLU": ("torch.nn.LeakyReLU", {"inplace": True}),
    "ReLU": ("torch.nn.ReLU", {"inplace": True}),
    "Mish": ("torch.nn.Mish", {"inplace": True}),
    "GELU": ("torch.nn.GELU", {}),
}


def changed(architecture: dict[str, Any], changes: NetworkChanges) -> dict[str, Any]:
    """A copy of a plans `architecture` with a recipe's changes."""
    architecture = copy.deepcopy(architecture)
    kwargs = architecture["arch_kwargs"]
    dimension = str(kwargs["conv_op"])[-2]
    if changes.network is not None:
        _change_class(architecture, changes.network)
    if changes.normalization is not None:
        kwargs["norm_op"], kwargs["norm_op_kwargs"] = _normalization(changes, dimension)
    if changes.nonlinearity is not None:
        path, arguments = _NONLINEARITIES[changes.nonlinearity]
        kwargs["nonlin"], kwargs["nonlin_kwargs"] = path, dict(arguments)
    if changes.negative_slope is not None:
        kwargs["nonlin_kwargs"] = {**(kwargs.get("nonlin_kwargs") or {}), "negative_slope": changes.negative_slope}
    if changes.convolutions_per_stage is not None:
        stages = kwargs["n_stages"]
        counts = "n_blocks_per_stage" if "n_blocks_per_stage" in kwargs else "n_conv_per_stage"
        kwargs[counts] = [changes.convolutions_per_stage] * stages
        kwargs["n_conv_per_stage_decoder"] = [changes.convolutions_per_stage] * (stages - 1)
    if changes.kernel_size is not None:
        kwargs["kernel_sizes"] = [[changes.kernel_size] * int(dimension)] * kwargs["n_stages"]
    kwargs.update(copy.deepcopy(changes.arch_kwargs))
    return architecture


def _change_class(architecture: dict[str, Any], name: str) -> None:
    package = str(architecture["network_class_name"]).rpartition(".")[0]
    architecture["network_class_name"] = f"{package}.{name}" if package and "." not in name else name
    kwargs = architecture["arch_kwargs"]
    if name.endswith("ResidualEncoderUNet") and "n_conv_per_stage" in kwargs:
        # The block counts and the single decoder convolution of nnU-Net's ResEnc planner.
        del kwargs["n_conv_per_stage"]
        kwargs["n_blocks_per_stage"] = [1, 3, 4, *[6] * kwargs["n_stages"]][: kwargs["n_stages"]]
        kwargs["n_conv_per_stage_decoder"] = [1] * (kwargs["n_stages"] - 1)
    elif name.endswith("PlainConvUNet") and "n_blocks_per_stage" in kwargs:
        del kwargs["n_blocks_per_stage"]
        kwargs["n_conv_per_stage"] = [2] * kwargs["n_stages"]
        kwargs["n_conv_per_stage_decoder"] = [2] * (kwargs["n_stages"] - 1)


def _normalization(changes: NetworkChanges, dimension: str) -> tuple[str | None, dict[str, Any] | None]:
    match changes.normalization:
        case "instance":
            return f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d", {"eps": 1e-5, "affine": True}
        case "batch":
            return f"torch.nn.modules.batchnorm.BatchNorm{dimension}d", {"eps": 1e-5, "affine": True}
        case "group":
            return "nnunet_trainer.architecture.layers.ChannelGroupNorm", {"num_groups": changes.normalization_groups}
        case "filterResponse":
            return "nnunet_trainer.architecture.layers.FilterResponseNorm", {}
        case _:
            return None, None
