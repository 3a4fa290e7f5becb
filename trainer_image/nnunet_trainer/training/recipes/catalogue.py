"""The catalogue (`contract.catalogue`): all that the code of this installation knows by name, as data."""

from __future__ import annotations

import json
from typing import Any

from nnunet_trainer.contract.catalogue.shapes import Shape
from nnunet_trainer.extensions import PLANNER_STEPS, schema
from nnunet_trainer.planning import planner_presets

from ..components import lookup
from . import presets, recipe

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")
"""What a planner may plan."""
CHECKED = (*lookup.KINDS, "extractor", *PLANNER_STEPS, "preprocessingStep", "normalization", "resampling")
"""The kinds of components that a manifest names."""
LINE = 160
MANY = 10
"""So many parameters are written once for all components that have them."""


def catalogue() -> dict[str, Any]:
    """The content of `catalogue.json`; with the components of plug-ins that are imported already."""
    return {
        "trainers": {
            name: {"base": base, "changes": changes, "about": about} for name, (base, changes, about) in presets.PRESETS.items()
        },
        "recipe": recipe.shape(),
        "components": {kind: described(kind) for kind in CHECKED},
        "planners": planners(),
        "configurations": list(CONFIGURATIONS),
    }


def planners() -> dict[str, Any]:
    """All planners: plans name, what each is for, and its parameters, or how their defaults differ from the first one's."""
    known, found = planner_presets.known().parameters, dict[str, Any]()
    first = planner_presets.Planner().name
    for name in sorted(known, key=lambda name: name != first):
        component = planner_presets.PLANNERS[name]
        entry = {"plansName": component.make().plans_name, "about": component.help}
        if name == first:
            found[name] = {**entry, "parameters": known[name]}
            continue
        defaults = {key: shape["default"] for key, shape in known[name].items() if shape != known[first][key]}
        found[name] = {**entry, "like": first, "defaults": defaults}
    return found


def dumps() -> str:
    """The file's text: what is short stands in one line, so that a change reads well."""
    return _text(catalogue(), "") + "\n"


def _text(value: Any, indent: str) -> str:
    short = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(short) + len(indent) <= LINE or not isinstance(value, dict):
        return short
    deeper = f"{indent} "
    lines = (f"{deeper}{json.dumps(key, ensure_ascii=False)}: {_text(item, deeper)}" for key, item in value.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def described(kind: str) -> dict[str, Any]:
    """All components of a kind: what each is for, and its parameters, or whose it has and with which other defaults."""
    registry = lookup.registry(kind)
    if kind == "planner":
        return {"title": registry.kind, "names": planners()}
    all_parameters = {name: schema.parameters(registry[name]) for name in registry}
    names: dict[str, dict[str, Any]] = {}
    # What others are compared with had better be the plainest.
    for name in sorted(all_parameters, key=lambda name: name != "default"):
        about, own = registry[name].help, all_parameters[name]
        like = next((other for other, entry in names.items() if "parameters" in entry and _alike(entry["parameters"], own)), None)
        if like is None:
            names[name] = {"about": about, "parameters": own}
            continue
        changes = {key: _change(all_parameters[like][key]["default"], shape["default"]) for key, shape in own.items()}
        changes = {key: change for key, change in changes.items() if own[key] != all_parameters[like][key]}
        names[name] = {"about": about, "like": like, "defaults": changes}
    return {"title": registry.kind, "names": names}


def _change(default: Any, own: Any) -> Any:
    """What is different about an object's default; else the other default."""
    if isinstance(default, dict) and isinstance(own, dict):
        return {key: item for key, item in own.items() if item != default.get(key)}
    return own


def _alike(one: dict[str, Shape], other: dict[str, Shape]) -> bool:
    """Whether many parameters differ in nothing but their defaults."""
    if len(one) < MANY or one.keys() != other.keys():
        return False
    return all({**shape, "default": None} == {**other[key], "default": None} for key, shape in one.items())
