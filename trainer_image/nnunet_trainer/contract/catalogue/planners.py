"""What a planner's name and its parameters may be: the rules of both sides, as `trainers` has them for trainers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..faults import BadConfiguration, unknown_name
from .shapes import OF_A_PLUGIN, Checker, Find, Shape

PARAMETERS = "planner.parameters"
CROP, NORMALIZE, RESAMPLE = "Crop", "Normalize", "Resample"
DEFAULT_STEPS = (CROP, NORMALIZE, RESAMPLE)
"""The preprocessing steps of nnU-Net's DefaultPreprocessor; each is part of any preprocessing, whatever comes between them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planners:
    """All planners that somebody knows.

    Args:
        parameters: of each planner by name: their shapes, by camelCase name.
        find: the parameters of a planner's steps, by kind and name.
        names_pass: a planner that is not known is left to whoever plans (a plug-in or another image may bring it).
        fields_pass: so is a parameter that is not known.
    """

    parameters: Mapping[str, Mapping[str, Shape]]
    find: Find
    names_pass: bool = False
    fields_pass: bool = False

    def check(self, name: str, parameters: Mapping[str, Any] | None = None, where: str = PARAMETERS) -> dict[str, Any]:
        """The parameters by camelCase name; `reference_3d` and `reference3D` are `reference3d`.

        Args:
            name: nnU-Net's class name.
            parameters: what is changed about it.
            where: what a fault calls them.

        Raises:
            BadConfiguration: no such planner or parameter (with the nearest names), or a value out of its range.
        """
        if name not in self.parameters:
            if self.names_pass:
                return {}
            raise BadConfiguration("UnknownPlanner", unknown_name("planner", name, self.parameters), hint=OF_A_PLUGIN)
        checker = Checker(find=self.find, reason="InvalidParameter", names_pass=self.names_pass, fields_pass=self.fields_pass)
        known, checked = self.parameters[name], {}
        for given, value in (parameters or {}).items():
            key = _canonical(given)
            if key in known:
                checked[key] = checker.check(known[key], value, f"{where}.{given}", known[key]["default"])
                if key == "preprocessingSteps" and (fault := steps_fault([step["name"] for step in checked[key]])):
                    raise BadConfiguration("InvalidParameter", f"{where}.{given}: {fault}.")
            elif not self.fields_pass:
                message = f"{where}: {unknown_name(f'parameter of {name}', given, known)}"
                raise BadConfiguration("UnknownParameter", message, hint=self._of_a_step(name, key, parameters or {}))
        return checked

    def _of_a_step(self, planner: str, wanted: str, parameters: Mapping[str, Any]) -> str:
        """Where a parameter belongs that is not the planner's, but that of one of its steps; "" where it is none's."""
        for key, shape in self.parameters[planner].items():
            if shape["type"] != "component":
                continue
            step = parameters.get(key, shape["default"])
            step = step["name"] if isinstance(step, Mapping) and "name" in step else step
            try:
                found = self.find(shape["kind"], step) if isinstance(step, str) else {}
            except BadConfiguration:
                continue
            if wanted in found:
                return f"It is a parameter of its step: {key}: {{name: {step}, {wanted}: …}}."
        return ""


def steps_fault(names: Sequence[str]) -> str:
    """What is wrong with the order of preprocessing steps; "" for nothing."""
    each_once = all(names.count(step) == 1 for step in DEFAULT_STEPS)
    if each_once and names[0] == CROP:
        return ""
    expected = f"{CROP} was expected first, then {NORMALIZE} and {RESAMPLE} once each, others before, between or after them"
    return f"{expected}; found {', '.join(names) or 'nothing'}"


def _canonical(name: str) -> str:
    camel = re.sub(r"_+([a-zA-Z0-9])", lambda found: found[1].upper(), name)
    return re.sub(r"([23])D$", r"\1d", camel)
