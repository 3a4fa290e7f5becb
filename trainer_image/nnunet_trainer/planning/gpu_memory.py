"""How much GPU memory a network's training takes, by its architecture's estimate and a planner's or its own reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration, unknown_name

from .architectures import Architecture, Reference, class_name, estimate_of, of_network
from .architectures.unet import PlainConvUNet, UNet
from .planner_presets import PLANNERS, Planner

_UNET, _BLOCKS = {"features_per_stage", "strides", "n_conv_per_stage_decoder"}, {"n_conv_per_stage", "n_blocks_per_stage"}
"""All of the first and one of the second: what a U-Net's size is made of, and a network's of somebody else measured as one."""
_UNITS = ("OfArchitecture", "FeatureMaps")
"""Memory estimates whose unit the planner's architecture has."""


CALIBRATION = "calibration"
"""An additional field of plans.json, which nnU-Net does not read: with what its planner's references were measured."""
_MEASURED = ("reference3d", "reference2d", "referenceGb")


def references(calibration: Mapping[str, Any] | None, planner: str) -> dict[str, float]:
    """A planner's parameters that were measured.

    Raises:
        BadConfiguration: it is no calibration, or another planner's.
    """
    if calibration is None:
        return {}
    found = calibration.get("parameters")
    numbers = found.values() if isinstance(found, Mapping) else ()
    if not numbers or not all(isinstance(n, int | float) and not isinstance(n, bool) and n > 0 for n in numbers):
        raise BadConfiguration(
            "InvalidCalibration",
            f"The calibration's parameters are {found!r}; positive numbers by name ({', '.join(_MEASURED)}) were expected.",
            hint="Write it by nnunet-trainer calibrate.",
        )
    if calibration.get("planner") != planner:
        raise BadConfiguration(
            "InvalidCalibration",
            f"The calibration is of the planner {calibration.get('planner')}; this one is {planner}.",
            hint=f"Calibrate this one: nnunet-trainer calibrate --planner {planner}.",
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
    The reference is the planner's where its architecture has the same unit, else the architecture's own; what the plans say of
    their calibration goes before the planner's.
    """
    arguments, dimensions = architecture.get("arch_kwargs", {}), len(patch_size)
    of = of_network(class_name(architecture))
    if of is None or isinstance(of, UNet):
        if not (set(arguments) >= _UNET and _BLOCKS & set(arguments)):
            return None
        of = of or PlainConvUNet()
    # Of an image's channels only few estimates make anything, and little.
    estimate = estimate_of(of, patch_size, arguments, 1, 2)
    return round(_reference(of, planner, calibration).gigabytes(estimate, batch_size, dimensions), 2)


def _reference(of: Architecture, planner: str, calibration: Mapping[str, Any] | None) -> Reference:
    """The planner's, where that is known and its numbers are in the architecture's unit."""
    kind = PLANNERS[planner].make() if planner in PLANNERS else Planner()
    unet = isinstance(of, UNet) and isinstance(kind.network, UNet)
    if kind.memory_estimate.name not in _UNITS or not (unet or kind.network.network == of.network):
        return PlainConvUNet.reference if unet else of.reference  # nnU-Net's default, of both U-Nets
    measured = references(calibration, planner)
    return Reference(
        three=measured.get("reference3d", kind.reference_3d),
        two=measured.get("reference2d", kind.reference_2d),
        gb=measured.get("referenceGb", kind.reference_gb),
        batch_three=kind.reference_batch_3d,
        batch_two=kind.reference_batch_2d,
    )
