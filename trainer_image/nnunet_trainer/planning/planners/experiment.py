"""Planning: nnU-Net's ExperimentPlanner and its residual relatives as one function of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration

from ..gpu_memory import CALIBRATION, basis, references, unsuited
from ..planner_presets import PLANNERS, Planner, planner
from ..plans import Configuration, Plans, beyond_nnunet, normalization_schemes, preprocessing_steps
from ..plans.patch import merge
from ..plans.plugins import record
from ..plans.validate import validate
from .configurations import plan_by


def plan(
    fingerprint: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    *,
    dataset_name: str,
    reader: str,
    planner: str = "ExperimentPlanner",
    gpu_memory_gb: float | None = None,
    target_spacing: Sequence[float] | None = None,
    plans_name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    patch: Mapping[str, Any] | None = None,
    per_configuration: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """Plan the experiments of a dataset.

    Args:
        fingerprint: dataset_fingerprint.json's content.
        dataset_json: dataset.json's content; channels, labels and numTraining are read.
        dataset_name: DatasetXXX_Name.
        reader: the image reader's name.
        planner: nnU-Net's class name.
        gpu_memory_gb: to plan for; the planner's own reference GPU when None.
        target_spacing: millimetres along the file's z, y, x, instead of the median.
        plans_name: instead of the planner's own.
        parameters: fields of `planner_presets.Planner` to change.
        patch: merged into the plans: objects merge, lists replace, null means null.
        per_configuration: configuration to {name, gpu_memory_gb, target_spacing, parameters}: its own planner.
        calibration: of this planner, as `nnunet-trainer calibrate` writes it: its references. A configuration whose planner or
            network is another keeps its own.
        notes: receives one line for each decision.

    Returns:
        plans.json's content, keys in nnU-Net's order.

    Raises:
        BadConfiguration: an unknown planner, parameter or configuration; a patch that breaks the plans, with the field.
        BadData: a fingerprint that lacks a field.
    """
    _refuse_taken(planner, plans_name)
    say = notes.append if notes is not None else (lambda line: None)

    def planned(choice: _Choice, name: str | None) -> dict[str, Any]:
        return plan_by(
            choice.planner,
            fingerprint,
            dataset_json,
            dataset_name=dataset_name,
            reader=reader,
            gpu_memory_gb=choice.gpu_memory_gb,
            target_spacing=choice.target_spacing,
            plans_name=name,
            say=say,
        )

    main = _Choice(planner, gpu_memory_gb, target_spacing, parameters or {})
    measured = references(calibration, main.planner)
    choices = [main.measured(measured, say)]
    if calibration is not None:
        say(f"{calibration.get('about')}: {', '.join(f'{name} {value:,.10g}' for name, value in measured.items())}")
    plans = planned(choices[0], plans_name)
    for name, given in (per_configuration or {}).items():
        choice = _Choice.of(given, planner)
        if calibration is not None and (reason := unsuited(calibration, choice.planner)):
            say(f"{name}: not by the calibration, {reason}")
        else:
            choice = choice.measured(measured, say)
        own = planned(choice, plans["plans_name"])
        if name not in own["configurations"]:
            known = ", ".join(own["configurations"])
            raise BadConfiguration("UnknownConfiguration", f"planner.perConfiguration.{name}: planned are {known}.")
        if own["transpose_forward"] != plans["transpose_forward"]:
            raise BadConfiguration(
                "InvalidPlans", f"planner.perConfiguration.{name}: another target spacing would transpose its axes differently."
            )
        if choice.name != planner:
            _keep_apart(plans, own, name, choice)
        plans["configurations"][name] = own["configurations"][name]
        choices.append(choice)
    if patch:
        plans = merge(plans, patch)
        normalization_schemes.complete(plans)
    if calibration is not None:
        kept = {key: calibration[key] for key in (*basis(main.planner), "networks", "about") if key in calibration}
        plans[CALIBRATION] = {**kept, "parameters": measured}
    validate(plans, dataset_json)
    record(plans, [used for choice in choices for used in choice.planner.components])
    if notes is not None:
        notes += [*preprocessing_steps.warnings(plans), *beyond_nnunet.lines(plans)]
    return plans


def _refuse_taken(name: str, plans_name: str | None) -> None:
    """A plug-in's planner under another planner's plans name would write over the plans and the data of that."""
    if plans_name is None or name not in PLANNERS or PLANNERS[name].plugin is None:
        return
    for other in PLANNERS:
        if other != name and PLANNERS[other].make().plans_name == plans_name:
            raise BadConfiguration(
                "PlansNameTaken",
                f"The plans name {plans_name} is that of {other}: plans by {name} would write over them and their data.",
                hint="Choose another plans name, or none.",
            )


@dataclass(frozen=True, slots=True)
class _Choice:
    """A planner by name, and what was changed about it."""

    name: str
    gpu_memory_gb: float | None
    target_spacing: Sequence[float] | None
    parameters: dict[str, Any]

    @classmethod
    def of(cls, given: Any, planner: str) -> _Choice:
        """That of one configuration: fields in either spelling, of an object or a mapping; `planner` where it names none."""
        return cls(
            _option(given, "name") or planner,
            _option(given, "gpu_memory_gb", "gpuMemoryGB"),
            _option(given, "target_spacing", "targetSpacing"),
            _option(given, "parameters") or {},
        )

    @property
    def planner(self) -> Planner:
        return planner(self.name, self.parameters)

    def measured(self, references: Mapping[str, float], say: Callable[[str], None]) -> _Choice:
        """With the references that were measured, which go before those that were given."""
        if not references:
            return self
        for name, value in references.items():
            if name in self.parameters:
                say(f"{name} {self.parameters[name]:,.10g} of the parameters gives way to what was measured, {value:,.10g}")
        # An architecture's own batch would not come with it where references are given.
        batches = {key: value for key, value in basis(self.planner).items() if key.startswith("referenceBatch")}
        return replace(self, parameters={**self.parameters, **batches, **references})


def _option(choice: Any, *names: str) -> Any:
    for name in names:
        value = choice.get(name) if isinstance(choice, Mapping) else getattr(choice, name, None)
        if value is not None:
            return value
    return None


def _keep_apart(plans: dict[str, Any], own: dict[str, Any], name: str, choice: _Choice) -> None:
    """Data that another planner makes otherwise bears that planner's name: it would write over the data of these plans' own."""
    found = own["configurations"][name]
    if "data_identifier" not in found or name not in plans["configurations"]:
        return
    fields = [Configuration(name, each["configurations"][name], Plans(each)).preprocessing_fields() for each in (plans, own)]
    if fields[0] != fields[1]:
        found["data_identifier"] = f"{choice.planner.plans_name}_{name}"
