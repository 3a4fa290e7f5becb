"""From the `architecture` of a plans configuration to a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import nn

from nnunet_trainer.contract.faults import BadConfiguration, unknown_name
from nnunet_trainer.contract.json_text.codec import camel
from nnunet_trainer.extensions import Registry
from nnunet_trainer.extensions.calls import guarded

from .blocks import Ops
from .layers import layer
from .mednext import KNOWN as MEDNEXT_ARGUMENTS
from .mednext import REQUIRED as MEDNEXT_REQUIRED
from .mednext import MedNeXt, of_arguments
from .primus import Primus, PrimusV2, PrimusV3
from .unet import PlainConvUNet, ResidualEncoderUNet, UNet

NETWORKS: Registry[Callable[..., nn.Module]] = Registry("network")
"""Makers `(arch_kwargs, channels_in, channels_out, deep_supervision) -> network` by class name."""


def build(
    architecture: dict[str, Any],
    num_input_channels: int,
    num_output_channels: int,
    deep_supervision: bool,
    *,
    initialize: bool = True,
    negative_slope: float = 1e-2,
    zero_residuals: bool = True,
) -> nn.Module:
    """Build a network from plans.

    Args:
        architecture: `network_class_name`, `arch_kwargs`, `_kw_requires_import` of a plans configuration. Of the class's dotted
            path only the last part counts: genuine plans name nnU-Net's classes, and get ours.
        num_input_channels: image channels, and those of a previous stage.
        num_output_channels: segmentation heads (`LabelManager.num_segmentation_heads`).
        deep_supervision: whether the network returns logits at all resolutions, the finest first.
        initialize: False where weights are loaded anyway.
        negative_slope: of the leaky ReLU that the initial weights are made for.
        zero_residuals: whether residual blocks begin as the identity.

    Raises:
        BadConfiguration: the class is unknown, or its arguments are missing or wrong; the message names the field.
    """
    try:
        name = str(architecture["network_class_name"]).rpartition(".")[2]
        kwargs = architecture["arch_kwargs"]
    except KeyError as missing:
        raise BadConfiguration("InvalidPlans", f"The plans' architecture has no {missing}.") from missing
    component, given = NETWORKS[name], (kwargs, num_input_channels, num_output_channels, deep_supervision)
    try:
        network = component.make(*given) if component.plugin is None else guarded(f"The network {name}", component.make, *given)
    except TypeError as error:
        raise BadConfiguration("InvalidPlans", f"The plans' arch_kwargs do not fit {name}: {error}.") from error
    if initialize and hasattr(network, "initialize"):
        begin(network, negative_slope=negative_slope, zero_residuals=zero_residuals)
    return network


def differing_weights(weights: Mapping[str, Any], network: nn.Module) -> list[str]:
    """What keeps the weights of a checkpoint from being a network's: names that only one has, other shapes; a line each."""
    expected = network.state_dict()
    found = [f"{key}: not in the checkpoint" for key in expected if key not in weights]
    found += [f"{key}: not in the network" for key in weights if key not in expected]
    found += [
        f"{key}: {tuple(weights[key].shape)} in the checkpoint, {tuple(value.shape)} in the network"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    return found


def begin(network: Any, *, negative_slope: float = 1e-2, zero_residuals: bool = True) -> None:
    """Give a network new initial weights.

    Raises:
        BadConfiguration: something was chosen that the network lets nobody choose.
    """
    known = inspect.signature(network.initialize).parameters
    defaults = inspect.signature(begin).parameters
    wishes = {"negative_slope": negative_slope, "zero_residuals": zero_residuals}
    for wish, value in wishes.items():
        if wish not in known and value != defaults[wish].default:
            raise BadConfiguration(
                "InvalidRecipe", f"recipe.initialization.{camel(wish)}: {type(network).__name__} has no choice of it."
            )
    network.initialize(**{wish: value for wish, value in wishes.items() if wish in known})


def _unet(kind: type[UNet], counts_key: str) -> Callable[..., UNet]:
    known = (
        "n_stages features_per_stage conv_op kernel_sizes strides n_conv_per_stage_decoder conv_bias norm_op norm_op_kwargs "
        f"dropout_op dropout_op_kwargs nonlin nonlin_kwargs nonlin_first deep_supervision {counts_key}"
    ).split()

    def make(kwargs: dict[str, Any], channels_in: int, channels_out: int, deep_supervision: bool) -> UNet:
        needed = ("n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", counts_key, "n_conv_per_stage_decoder")
        _check_arguments(kwargs, kind.__name__, known, needed)
        stages = _stages(kwargs)
        return kind(
            _ops(kwargs),
            channels_in,
            channels_out,
            features=_per_stage(kwargs, "features_per_stage", stages),
            kernels=_per_stage(kwargs, "kernel_sizes", stages),
            strides=_per_stage(kwargs, "strides", stages),
            counts=_per_stage(kwargs, counts_key, stages),
            decoder_counts=_per_stage(kwargs, "n_conv_per_stage_decoder", stages - 1),
            deep_supervision=deep_supervision,
        )

    make.__doc__ = kind.__doc__
    return make


NETWORKS.register("PlainConvUNet")(_unet(PlainConvUNet, "n_conv_per_stage"))
NETWORKS.register("ResidualEncoderUNet")(_unet(ResidualEncoderUNet, "n_blocks_per_stage"))


def _primus(kind: type[Primus]) -> Callable[..., Primus]:
    parameters = {a.name: a for a in inspect.signature(kind).parameters.values() if a.kind is a.KEYWORD_ONLY}

    def make(kwargs: dict[str, Any], channels_in: int, channels_out: int, deep_supervision: bool) -> Primus:
        needed = [key for key, argument in parameters.items() if argument.default is inspect.Parameter.empty]
        _check_arguments(kwargs, kind.__name__, parameters, needed)
        if deep_supervision:
            raise BadConfiguration("InvalidRecipe", f"recipe.deepSupervision: {kind.__name__} has one output; set it to off.")
        return kind(channels_in, channels_out, **kwargs)

    make.__doc__ = kind.__doc__
    return make


for _kind in (Primus, PrimusV2, PrimusV3):
    NETWORKS.register(_kind.__name__)(_primus(_kind))


@NETWORKS.register("MedNeXt")
def _mednext(kwargs: dict[str, Any], channels_in: int, channels_out: int, deep_supervision: bool) -> MedNeXt:
    """A U-Net of ConvNeXt blocks (Roy et al., MICCAI 2023)."""
    _check_arguments(kwargs, "MedNeXt", MEDNEXT_ARGUMENTS, MEDNEXT_REQUIRED)
    stages = _stages(kwargs)
    lists = {key: _per_stage(kwargs, key, stages - key.endswith("_decoder")) for key in MEDNEXT_REQUIRED if key != "n_stages"}
    if any(kernel % 2 == 0 for row in lists["kernel_sizes"] for kernel in row):
        raise BadConfiguration("InvalidPlans", f"arch_kwargs: kernel_sizes is {lists['kernel_sizes']}; MedNeXt's are odd.")
    return of_arguments({**kwargs, **lists}, channels_in, channels_out, deep_supervision)


def _check_arguments(kwargs: dict[str, Any], network: str, known: Collection[str], needed: Collection[str]) -> None:
    for key in kwargs:
        if key not in known:
            raise BadConfiguration("InvalidPlans", "arch_kwargs: " + unknown_name(f"argument of {network}", key, known))
    for key in needed:
        if key not in kwargs:
            raise BadConfiguration("InvalidPlans", f"arch_kwargs: {key} is missing ({network} needs it).")


def _stages(kwargs: dict[str, Any]) -> int:
    stages = kwargs["n_stages"]
    if not isinstance(stages, int) or stages < 2:
        raise BadConfiguration("InvalidPlans", f"arch_kwargs: n_stages is {stages!r}; a U-Net has at least 2.")
    return stages


def _per_stage(kwargs: dict[str, Any], key: str, stages: int) -> Sequence[Any]:
    value = kwargs[key]
    if isinstance(value, int):
        return [value] * stages
    if len(value) != stages:
        raise BadConfiguration("InvalidPlans", f"arch_kwargs: {key} has {len(value)} entries; {stages} were expected, one a stage.")
    return value


def _ops(kwargs: dict[str, Any]) -> Ops:
    dimensions = {"Conv2d": 2, "Conv3d": 3}
    conv = str(kwargs["conv_op"]).rpartition(".")[2]
    if conv not in dimensions:
        raise BadConfiguration("InvalidPlans", "arch_kwargs: " + unknown_name("conv_op", str(kwargs["conv_op"]), dimensions))
    return Ops(
        dimension=dimensions[conv],
        bias=bool(kwargs.get("conv_bias", False)),
        norm=layer("norm_op", kwargs.get("norm_op")),
        norm_kwargs=dict(kwargs.get("norm_op_kwargs") or {}),
        dropout=layer("dropout_op", kwargs.get("dropout_op")),
        dropout_kwargs=dict(kwargs.get("dropout_op_kwargs") or {}),
        nonlin=layer("nonlin", kwargs.get("nonlin")),
        nonlin_kwargs=dict(kwargs.get("nonlin_kwargs") or {}),
        nonlin_first=bool(kwargs.get("nonlin_first", False)),
    )
