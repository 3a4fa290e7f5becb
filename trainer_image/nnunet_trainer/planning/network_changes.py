"""A recipe's changes of the plans' architecture, in the plans' own words, so that nnU-Net rebuilds the same network from them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from nnunet_trainer.contract.catalogue.networks import TOKENS, check_shape
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.json_text.codec import camel
from nnunet_trainer.extensions import Range
from nnunet_trainer.extensions.schema import NameOf

from .architectures import class_name, primus

Count = Annotated[int, Range(1)]

_NONLINEARITIES = {
    "LeakyReLU": ("torch.nn.LeakyReLU", {"inplace": True}),
    "ReLU": ("torch.nn.ReLU", {"inplace": True}),
    "Mish": ("torch.nn.Mish", {"inplace": True}),
    "GELU": ("torch.nn.GELU", {}),
}
_PACKAGE = "dynamic_network_architectures.architectures"
_UNET_PARTS = (
    "normalization",
    "nonlinearity",
    "negative_slope",
    "convolutions_per_stage",
    "blocks_per_stage",
    "base_features",
    "kernel_size",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkChanges:
    """What is changed in the plans' architecture. The results' plans.json holds the changed architecture."""

    network: Annotated[str, NameOf("network")] | None = None
    """The class: PlainConvUNet, ResidualEncoderUNet, Primus, PrimusV2, PrimusV3, or a plug-in's. A MedNeXt is planned for."""
    normalization: Literal["instance", "batch", "group", "filterResponse", "none"] | None = None
    normalization_groups: Count = 8
    nonlinearity: Literal["LeakyReLU", "ReLU", "Mish", "GELU"] | None = None
    negative_slope: Annotated[float, Range(0, 1)] | None = None
    """Of LeakyReLU."""
    convolutions_per_stage: Count | None = None
    blocks_per_stage: tuple[Count, ...] | None = None
    """Residual blocks of each of the encoder's stages; the last number is that of all further stages."""
    base_features: Count | None = None
    """Channels of the first stage; they double from stage to stage, up to the plans' largest number."""
    kernel_size: Literal[1, 3, 5, 7] | None = None
    """Every entry of every kernel."""
    arch_kwargs: dict[str, Any] = field(default_factory=dict)
    """Anything else, in the plans' own words; applied last."""


def changed(architecture: dict[str, Any], changes: NetworkChanges, patch_size: Sequence[int]) -> dict[str, Any]:
    """A copy of a plans `architecture` with a recipe's changes.

    Raises:
        BadConfiguration: the network has no such part, or does not fit a patch of this size.
    """
    name = changes.network or class_name(architecture)
    if name in TOKENS:
        return _primus(architecture, name, changes, patch_size)
    if class_name(architecture) in TOKENS:
        raise BadConfiguration(
            "NetworkDoesNotFit",
            f"recipe.network.network: the plans hold a {class_name(architecture)}; a {name} cannot be made of it.",
        )
    if changes.network is not None and "MedNeXt" in (before := class_name(architecture), name) and before != name:
        raise BadConfiguration(
            "NetworkDoesNotFit",
            f"recipe.network.network: the plans hold a {before}; a {name} cannot be made of it.",
            hint=f"Plan for it: planner.name: {'MedNeXtPlanner' if name == 'MedNeXt' else 'ExperimentPlanner'}.",
        )
    architecture = copy.deepcopy(architecture)
    kwargs = architecture["arch_kwargs"]
    dimension = str(len(patch_size))
    asked = [part for part in _UNET_PARTS if getattr(changes, part) is not None]
    if asked and "n_stages" not in kwargs:
        raise BadConfiguration(
            "NetworkDoesNotFit",
            f"recipe.network.{camel(asked[0])}: {name} is no U-Net: its arch_kwargs in the plans have no n_stages.",
            hint="Change its own arguments instead (recipe.network.archKwargs).",
        )
    if changes.network is not None:
        _change_class(architecture, changes.network)
    if changes.normalization is not None:
        kwargs["norm_op"], kwargs["norm_op_kwargs"] = _normalization(changes, dimension)
    if changes.nonlinearity is not None:
        path, arguments = _NONLINEARITIES[changes.nonlinearity]
        kwargs["nonlin"], kwargs["nonlin_kwargs"] = path, dict(arguments)
    if changes.negative_slope is not None:
        kwargs["nonlin_kwargs"] = {**(kwargs.get("nonlin_kwargs") or {}), "negative_slope": changes.negative_slope}
    stages = kwargs.get("n_stages", 0)
    if changes.convolutions_per_stage is not None:
        counts = "n_blocks_per_stage" if "n_blocks_per_stage" in kwargs else "n_conv_per_stage"
        kwargs[counts] = [changes.convolutions_per_stage] * stages
        kwargs["n_conv_per_stage_decoder"] = [changes.convolutions_per_stage] * (stages - 1)
    if changes.blocks_per_stage:
        if "n_blocks_per_stage" not in kwargs:
            raise BadConfiguration("NetworkDoesNotFit", f"recipe.network.blocksPerStage: {name} has no residual blocks.")
        kwargs["n_blocks_per_stage"] = [*changes.blocks_per_stage, *[changes.blocks_per_stage[-1]] * stages][:stages]
    if changes.base_features is not None:
        most = max(kwargs["features_per_stage"])
        kwargs["features_per_stage"] = [min(changes.base_features * 2**stage, most) for stage in range(stages)]
    if changes.kernel_size is not None:
        kwargs["kernel_sizes"] = [[changes.kernel_size] * int(dimension)] * stages
    kwargs.update(copy.deepcopy(changes.arch_kwargs))
    return architecture


def _primus(architecture: dict[str, Any], name: str, changes: NetworkChanges, patch_size: Sequence[int]) -> dict[str, Any]:
    for part in _UNET_PARTS:
        if getattr(changes, part) is not None:
            raise BadConfiguration(
                "NetworkDoesNotFit",
                f"recipe.network.{camel(part)}: {name} is a transformer; this is for U-Nets.",
            )
    before = architecture["arch_kwargs"] if class_name(architecture) == name else {}
    kwargs = {**primus.arguments("M", patch_size), **before, "input_shape": list(patch_size), **copy.deepcopy(changes.arch_kwargs)}
    check_shape(name, kwargs["input_shape"], kwargs["patch_embed_size"])
    return {"network_class_name": f"{_PACKAGE}.primus.{name}", "arch_kwargs": kwargs, "_kw_requires_import": []}


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
