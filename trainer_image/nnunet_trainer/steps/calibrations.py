"""The part of the step `plan` that measures: what the planner's networks take on this pod's GPU, or CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..contract.work_order import PlanOrder
from ..planning.planner_presets import planner
from .common import Teller


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredOn:
    """Where it is measured, and for how much memory."""

    device: str
    memory_gb: float


def device(order: PlanOrder) -> MeasuredOn:
    """This pod's GPU; its CPU where it has none."""
    from ..training.calibration.series import memory, name
    from ..training.ranks import devices

    chosen = devices.choose("auto")
    asked = order.planner.gpu_memory_gb
    return MeasuredOn(device=name(chosen), memory_gb=asked or memory(chosen, planner(order.planner.name, order.planner.parameters)))


def measure(
    order: PlanOrder,
    dataset_json: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    measured_on: MeasuredOn,
    tell: Teller,
    notes: list[str],
) -> dict[str, Any]:
    """The calibration, as `nnunet-trainer calibrate` writes it; a line for each patch goes into the notes.

    Raises:
        BadConfiguration: not even the smallest patch fits.
    """
    from ..training.calibration.series import calibrate
    from ..training.ranks import devices

    tell("calibrating")

    def say(line: str) -> None:
        notes.append(line)
        tell("calibrating", len(notes))

    found = calibrate(
        planner(order.planner.name, order.planner.parameters),
        dataset_json=dataset_json,
        fingerprint=fingerprint,
        dimensions=[axes for axes, name in ((3, "3d_fullres"), (2, "2d")) if _plans(order, name)],
        device=devices.choose("auto"),
        memory_gb=measured_on.memory_gb,
        say=say,
    )
    return found.content()


def _plans(order: PlanOrder, configuration: str) -> bool:
    """Whether the planner that is measured plans this configuration, or another one does."""
    own = order.per_configuration.get(configuration)
    return own is None or own.name == order.planner.name
