"""The part of the step `plan` that measures: what the planner's networks take on this pod's GPU, or CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..contract.work_order import PlanOrder
from ..planning.gpu_memory import basis
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
    kind = planner(order.planner.name, order.planner.parameters)
    return MeasuredOn(device=name(chosen), memory_gb=memory(chosen, kind, order.planner.gpu_memory_gb))


def measure(
    order: PlanOrder,
    dataset_json: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
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
        dimensions=dimensions(order),
        device=devices.choose("auto"),
        memory_gb=order.planner.gpu_memory_gb,
        say=say,
    )
    return found.content()


CONFIGURATIONS = {3: ("3d_fullres", "3d_lowres"), 2: ("2d",)}
"""What is planned of patches of so many dimensions; the cascade's second stage is 3d_fullres."""


def dimensions(order: PlanOrder) -> list[int]:
    """Of the patches that are measured: those of a configuration that the order's planner plans."""
    return [axes for axes, names in CONFIGURATIONS.items() if any(_plans(order, name) for name in names)]


def _plans(order: PlanOrder, configuration: str) -> bool:
    own, main = order.per_configuration.get(configuration), order.planner
    return own is None or basis(planner(own.name, own.parameters)) == basis(planner(main.name, main.parameters))
