"""The catalogue (`contract.catalogue`): all that the code of this installation knows by name, as data."""

from __future__ import annotations

import json
from typing import Any

from nnunet_trainer.fingerprint.extraction import EXTRACTORS
from nnunet_trainer.planning import planners

from . import components, presets, reading, recipe

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")
"""What a planner may plan."""
LINE = 160


def catalogue() -> dict[str, Any]:
    """The content of `catalogue.json`; with the components of plug-ins that are imported already."""
    return {
        "trainers": {
            name: {"base": base, "changes": changes, "about": about} for name, (base, changes, about) in presets.PRESETS.items()
        },
        "recipe": recipe.shape(),
        "components": {kind: _kind(kind) for kind in components.KINDS},
        "planners": {
            name: {"plansName": planners.PLANNERS[name].plans_name, "parameters": parameters}
            for name, parameters in planners.known().parameters.items()
        },
        "extractors": list(EXTRACTORS),
        "configurations": list(CONFIGURATIONS),
    }


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


def _kind(kind: str) -> dict[str, Any]:
    registry = components.registry(kind)
    names = {name: {"about": registry[name].help, "parameters": reading.parameters(registry[name])} for name in registry}
    return {"title": registry.kind, "names": names}
