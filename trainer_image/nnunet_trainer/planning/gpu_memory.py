"""How much GPU memory a network's training takes, by its architecture's estimate and a planner's or its own reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration, unknown_name
from nnunet_trainer.extensions import schema

from .architectures import ARCHITECTURES, Architecture, Reference, class_name, estimate_of, of_network
from .architectures.unet import PlainConvUNet, UNet
from .planner_presets import PLANNERS, Planner

_UNET, _BLOCKS = {"features_per_stage", "strides", "n_conv_per_stage_decoder"}, {"n_conv_per_stage", "n_blocks_per_stage"}
"""All of the first and one of the second: what a U-Net's size is made of, and a network's of somebody else measured as one."""
_UNITS = ("OfArchitecture", "FeatureMaps")
"""Memory estimates whose unit the planner's architecture has."""


CALIBRATION = "calibration"
"""An additional field of plans.json, which nnU-Net does not read: with what its planner's references were measured."""
_MEASURED = ("reference3d", "reference2d", "referenceGb")


def basis(planner: Planner) -> dict[str, Any]:
    """What a planner's references are of, as a calibration holds it: of another network, estimate or batch they say nothing."""
    chosen = planner.network_choice
    known = ARCHITECTURES[chosen.name].parameters.values()
    return {
        "planner": planner.name,
        "architecture": {"name": chosen.name, **{each.name: each.default for each in known}, **chosen.parameters},
        "memoryEstimate": schema.plain(planner.memory_estimate),
        "baseFeatures": planner.base_features,
        "referenceBatch3d": planner.reference_batch_3d,
        "referenceBatch2d": planner.reference_batch_2d,
    }


def unsuited(calibration: Mapping[str, Any], planner: Planner) -> str | None:
    """Why a calibration says nothing of a planner, in words; None: it is of the same network, estimate and batch."""
    for key, own in basis(planner).items():
        if calibration.get(key, own) != own:
            return f"it is of the {key} {_shown(calibration[key])}; this one is {_shown(own)}"
    return None


def _shown(value: Any) -> str:
    return (
        ", ".join(f"{item}" if key == "name" else f"{key} {item}" for key, item in value.items())
        if isinstance(value, Mapping)
        else f"{value}"
    )


def references(calibration: Mapping[str, Any] | None, planner: Planner) -> dict[str, float]:
    """A planner's parameters that were measured.

    Raises:
        BadConfiguration: it is no calibration, or another planner's or network's.
    """
    if calibration is None:
        return {}
    found = _measured(calibration)
    if reason := unsuited(calibration, planner):
        raise BadConfiguration(
            "InvalidCalibration",
            f"The calibration does not fit: {reason}.",
            hint=f"Calibrate this one: nnunet-trainer calibrate --planner {planner.name}, with the same --parameters.",
        )
    if missing := [name for name in _MEASURED if name not in found]:
        raise BadConfiguration(
            "InvalidCalibration",
            f"The calibration's parameters have no {', '.join(missing)}: all are needed, of one GPU.",
            hint="Write it anew by nnunet-trainer calibrate.",
        )
    return found


def _measured(calibration: Mapping[str, Any]) -> dict[str, float]:
    """The parameters of a calibration, checked."""
    found = calibration.get("parameters")
    numbers = found.values() if isinstance(found, Mapping) else ()
    if not numbers or not all(isinstance(n, int | float) and not isinstance(n, bool) and n > 0 for n in numbers):
        raise BadConfiguration(
            "InvalidCalibration",
            f"The calibration's parameters are {found!r}; positive numbers by name ({', '.join(_MEASURED)}) were expected.",
            hint="Write it by nnunet-trainer calibrate.",
        )
    if unknown := set(found) - set(_MEASURED):
        raise BadConfiguration("InvalidCalibration", "The calibration: " + unknown_name("parameter", unknown.pop(), _MEASURED))
    return dict(found)


def estimate_gb(
    patch_size: Sequence[int],
    batch_size: int,
    architecture: dict[str, Any],
    planner: str,
    calibration: Mapping[str, Any] | None = None,
) -> float | None:
    """Gigabytes by the rule of three: a reference estimate and batch fill a reference GPU.

    None for a U-Net that lacks what its size is made of, and for a network that no architecture is known of and that is none.
    The reference is the planner's where its architecture has the same unit, else the architecture's own; what the plans'
    calibration says of this network goes before both.
    """
    arguments, dimensions = architecture.get("arch_kwargs", {}), len(patch_size)
    network = class_name(architecture)
    of, reference = _by_calibration(network, dimensions, calibration)
    of = of or of_network(network)
    if of is None or isinstance(of, UNet):
        if not (set(arguments) >= _UNET and _BLOCKS & set(arguments)):
            return None
        of = of or PlainConvUNet()
    # Of an image's channels only few estimates make anything, and little.
    estimate = estimate_of(of, patch_size, arguments, 1, 2)
    return round((reference or _reference(of, planner)).gigabytes(estimate, batch_size, dimensions), 2)


def _by_calibration(
    network: str, dimensions: int, calibration: Mapping[str, Any] | None
) -> tuple[Architecture | None, Reference | None]:
    """The architecture as which a network was measured, and what fills the GPU of it; None where it was not."""
    needed = ("networks", "architecture", "memoryEstimate", "referenceBatch3d", "referenceBatch2d")
    if not calibration or not all(key in calibration for key in needed):
        return None, None
    if calibration["networks"].get(f"{dimensions}d") != network:
        return None, None
    estimate, name = calibration["memoryEstimate"]["name"], calibration["architecture"]["name"]
    if estimate not in _UNITS:
        return None, None
    found = _measured(calibration)
    reference = Reference(
        three=found["reference3d"],
        two=found["reference2d"],
        gb=found["referenceGb"],
        batch_three=calibration["referenceBatch3d"],
        batch_two=calibration["referenceBatch2d"],
    )
    same = name in ARCHITECTURES and ARCHITECTURES[name].make.network == network  # type: ignore[attr-defined]
    return ARCHITECTURES[name].make() if same and estimate == "OfArchitecture" else None, reference


def _reference(of: Architecture, planner: str) -> Reference:
    """The planner's, where that is known and its numbers are in the architecture's unit."""
    kind = PLANNERS[planner].make() if planner in PLANNERS else Planner()
    unet = isinstance(of, UNet) and isinstance(kind.network, UNet)
    if kind.memory_estimate.name not in _UNITS or not (unet or kind.network.network == of.network):
        return PlainConvUNet.reference if unet else of.reference  # nnU-Net's default, of both U-Nets
    return Reference(
        three=kind.reference_3d,
        two=kind.reference_2d,
        gb=kind.reference_gb,
        batch_three=kind.reference_batch_3d,
        batch_two=kind.reference_batch_2d,
    )
