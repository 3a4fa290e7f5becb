"""What the trainer of this version knows by name, as data: the operator's side of the checks of recipes and planners.

`catalogue.json` is written by `nnunet-trainer trainers --catalogue -o FILE` (`make catalogue`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ..faults import BadUsage
from .planners import Planners
from .shapes import Checker, Shape, unknown_component
from .trainers import Preset, Trainers

ENTRY_POINTS = "nnunet_trainer.plugins"
"""Entry-point group whose modules the trainer imports, so that installed packages can register components."""

FILE = Path(__file__).with_name("catalogue.json")

REASONS = frozenset(
    {
        "UnknownTrainer",
        "InvalidTrainerName",
        "TrainerNameTaken",
        "EmptyRecipe",
        "InvalidRecipe",
        "UnknownPlanner",
        "UnknownParameter",
        "InvalidParameter",
    }
)
"""Reasons of faults that the catalogue shows, beside `Unknown…` of each kind of component."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """The names that a trainer knows, and what each may be given. `content` is as in `catalogue.json`. Each equals itself alone."""

    content: Mapping[str, Any]

    def trainers(self, *, names_pass: bool = False, fields_pass: bool = False) -> Trainers:
        """Its trainers and recipes; see `Trainers` for what may pass."""
        return Trainers(
            presets=self._presets,
            shape=self.content["recipe"],
            find=self.parameters,
            names_pass=names_pass,
            fields_pass=fields_pass,
        )

    @cached_property
    def _presets(self) -> Mapping[str, Preset]:
        return {name: (entry["base"], entry["changes"], entry["about"]) for name, entry in self.content["trainers"].items()}

    def planners(self, *, names_pass: bool = False, fields_pass: bool = False) -> Planners:
        """Its planners; see `Planners` for what may pass."""
        known = self.content["planners"]
        parameters = {name: _of_planner(known, name) for name in known}
        return Planners(parameters=parameters, find=self.parameters, names_pass=names_pass, fields_pass=fields_pass)

    def parameters(self, kind: str, name: str) -> Mapping[str, Shape]:
        """The parameters of a component (`shapes.Find`).

        Raises:
            BadConfiguration: there is no such component.
        """
        known = self.content["components"][kind]
        if name not in known["names"]:
            raise unknown_component(known["title"], name, known["names"])
        entry = known["names"][name]
        if "like" not in entry:
            parameters: Mapping[str, Shape] = entry["parameters"]
            return parameters
        # Another one's, but for some defaults: sets of transforms have many parameters, all the same ones.
        like, changes = known["names"][entry["like"]]["parameters"], entry["defaults"]
        return {
            key: {**shape, "default": _changed(shape["default"], changes[key])} if key in changes else shape
            for key, shape in like.items()
        }

    def check_extractor(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Whether fingerprints can be extracted so.

        Raises:
            BadConfiguration: there is no such extractor, or it takes other parameters.
        """
        check_parameters("extractor", name, self.parameters("extractor", name), parameters, "spec.fingerprint.parameters")

    @property
    def configurations(self) -> tuple[str, ...]:
        """What planners plan, each where it makes sense; a patch may add others."""
        return tuple(self.content["configurations"])

    @property
    def reasons(self) -> frozenset[str]:
        """All reasons of faults that it shows."""
        titles = [kind["title"] for kind in self.content["components"].values()]
        return REASONS | {unknown_component(title, "", ()).reason for title in titles}


def check_parameters(
    kind: str, name: str, shapes: Mapping[str, Shape], parameters: Mapping[str, Any] | None, where: str = "parameters"
) -> dict[str, Any]:
    """The parameters of one component, checked; those that are not given are left out.

    Raises:
        BadConfiguration: a parameter that it does not take, or needs and lacks; a value out of its range.
    """

    def find(kind: str, name: str) -> Mapping[str, Shape]:
        return shapes

    checked: dict[str, Any] = Checker(find=find, reason="InvalidParameter").check(
        {"type": "component", "kind": kind}, {"name": name, **(parameters or {})}, where
    )
    return {key: value for key, value in checked.items() if key != "name"}


def _of_planner(known: Mapping[str, Any], name: str) -> Mapping[str, Shape]:
    """A planner's parameters: its own, or another one's with some other defaults."""
    entry = known[name]
    if "like" not in entry:
        own: Mapping[str, Shape] = entry["parameters"]
        return own
    like, defaults = known[entry["like"]]["parameters"], entry["defaults"]
    return {key: {**shape, "default": defaults.get(key, shape["default"])} for key, shape in like.items()}


def _changed(default: Any, change: Any) -> Any:
    return {**default, **change} if isinstance(default, dict) and isinstance(change, dict) else change


@cache
def packaged() -> Catalogue:
    """The catalogue of this version."""
    return load(FILE)


def load(path: Path) -> Catalogue:
    """A catalogue from a file.

    Raises:
        BadUsage: there is no such file, or it is none.
    """
    hint = "Write one: nnunet-trainer trainers --catalogue -o FILE."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadUsage("InvalidCatalogue", f"The catalogue {path} cannot be read: {error}.", hint=hint) from error
    expected = ("trainers", "recipe", "components", "planners", "configurations")
    if missing := [key for key in expected if not isinstance(content, dict) or key not in content]:
        raise BadUsage("InvalidCatalogue", f"{path} is no catalogue: it has no {', '.join(missing)}.", hint=hint)
    return Catalogue(content=content)
