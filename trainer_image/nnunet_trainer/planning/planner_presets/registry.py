"""Planners by name, and their parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.catalogue.planners import Planners
from nnunet_trainer.contract.catalogue.shapes import Checker, Shape
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.json_text.codec import camel
from nnunet_trainer.extensions import Component, Registry, kinds, schema

from .planner import CHOSEN, Planner, changed, with_references

FIXED = ("name", "plans_name")
"""Fields that are no parameters: who wants others derives a planner."""


class PlannerRegistry(Registry[Callable[[], Planner]]):
    """Makers `() -> Planner` by name."""

    def _checked(self, component: Component[Callable[[], Planner]]) -> Component[Callable[[], Planner]]:
        """That nothing of it can be written over another planner's plans and data."""
        name, made = component.name, component.make()
        if not isinstance(made, Planner):
            raise BadConfiguration(
                "InvalidPlanner",
                f"The planner {name} ({component.place}) is made as {made!r}.",
                hint="Return what derive(BASE, plans_name=…) of nnunet_trainer.planning.planner_presets makes.",
            )
        hint = f"Give it one of its own: derive(…, plans_name='nnUNetPlans_{name}')."
        if not keys.is_one_name(made.plans_name):
            found = f"The planner {name} ({component.place}) has the plans name {made.plans_name!r}, expected a folder's name."
            raise BadConfiguration("InvalidPlanner", found, hint=hint)
        for other in self:
            if other != name and self[other].make().plans_name == made.plans_name:
                raise BadConfiguration(
                    "PlansNameTaken",
                    f"The planner {name} ({component.place}) has the plans name {made.plans_name}, which is {other}'s: "
                    "it would write over the plans and the preprocessed data of that.",
                    hint=hint,
                )
        if component.plugin and made.shares_data:
            raise BadConfiguration(
                "PlansNameTaken",
                f"The planner {name} ({component.place}) says shares_data: it would write over nnUNetPlans' data.",
                hint="Leave that out: its data identifiers then begin with its own plans name.",
            )
        return replace(component, make=_constant(made, component.help))


PLANNERS = PlannerRegistry("planner")


def add(planner: Planner, about: str) -> None:
    """Register a built-in planner."""
    PLANNERS.register(planner.name)(_constant(planner, about))


def _constant(planner: Planner, about: str) -> Callable[[], Planner]:
    """A maker of this planner: one that derives it anew would look at all planners, itself too."""

    def make() -> Planner:
        return planner

    make.__doc__ = about
    return make


_SHAPES: dict[str, Shape] = {
    "bool": {"type": "boolean"},
    "str": {"type": "text"},
    "int": {"type": "integer", "low": 1},
    "float": {"type": "number", "low": 0, "lowOpen": True},
    "tuple[int, ...]": {"type": "list", "items": {"type": "integer", "low": 1}, "atLeast": 1},
}
"""By a field's annotation."""

_PREPROCESSING = tuple[Annotated[schema.Choice, schema.Of("preprocessingStep")], ...]
_ORDER: Shape = {"low": 0, "high": 5}
_LIMITS: dict[str, Shape] = {
    "target_spacing_percentile": {"high": 100},
    "anisotropic_spacing_percentile": {"high": 100},
    "lowres_spacing_step": {"low": 1},
    **{field.name: _ORDER for field in dataclasses.fields(Planner) if field.name.startswith("order_")},
}


def planner(name: str, parameters: Mapping[str, Any] | None = None) -> Planner:
    """A planner by name, with some of its numbers and steps changed.

    Raises:
        BadConfiguration: no such planner, parameter or step, or a value of another kind.
    """
    checked = known().check(name, parameters)
    fields = {camel(f.name): f.name for f in dataclasses.fields(Planner)}
    changes = {fields[key]: _value(fields[key], value) for key, value in checked.items()}
    made = with_references(PLANNERS[name].make(), {"name": name, **changes})
    if PLANNERS[name].plugin is not None:
        _check_steps(made)
    return made


def _check_steps(made: Planner) -> None:
    """The parameters that a plug-in has given to its planner's steps: when it registers, a step may not be there yet."""
    checker = Checker(find=lambda kind, name: schema.parameters(kinds.find(kind, name)), reason="InvalidParameter")
    for field, kind in CHOSEN.items():
        given = schema.plain(getattr(made, field))
        checker.check({"type": "component", "kind": kind}, given, f"The planner {made.name}, {field}")


def derive(base: str, *, plans_name: str, **changes: Any) -> Planner:
    """A planner from another one, for plug-ins: `derive("ExperimentPlanner", plans_name="nnUNetPlans_mine", pooling="Mine")`.

    Args:
        base: the name of the planner that it begins as.
        plans_name: its own: plans and preprocessed data are named by it.
        changes: fields of `Planner`.

    Raises:
        BadConfiguration: there is no such planner or field.
    """
    return changed(planner(base), **{"shares_data": False, **changes, "plans_name": plans_name})


def known() -> Planners:
    """All planners and their parameters, with the defaults of each."""
    fields = [f for f in dataclasses.fields(Planner) if f.name not in FIXED]
    made = {name: PLANNERS[name].make() for name in PLANNERS}
    return Planners(
        parameters={
            name: {camel(f.name): {**_shape(f), "default": schema.plain(getattr(base, f.name))} for f in fields}
            for name, base in made.items()
        },
        find=lambda kind, name: schema.parameters(kinds.find(kind, name)),
    )


def _shape(field: dataclasses.Field[Any]) -> Shape:
    if field.name in CHOSEN:
        return {"type": "component", "kind": CHOSEN[field.name]}
    if field.name == "preprocessing_steps":
        return schema.shape_of(_PREPROCESSING)
    return {**_SHAPES[str(field.type)], **_LIMITS.get(field.name, {})}


def _value(field: str, value: Any) -> Any:
    if field in CHOSEN:
        return schema.build(Annotated[schema.Choice, schema.Of(CHOSEN[field])], value, kinds.find)
    if field == "preprocessing_steps":
        return schema.build(_PREPROCESSING, value, kinds.find)
    return tuple(value) if isinstance(value, list) else value
