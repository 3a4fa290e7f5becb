"""What a trainer's name and its recipe stand for: the rules of both sides, over what each knows.

The trainer knows its own code and the plug-ins that it has imported; the operator knows the catalogue (`contract.catalogue`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..faults import BadConfiguration, unknown_name
from . import recipe_rules
from .shapes import Checker, Find, Shape, defaults

DEFAULT = "nnUNetTrainer"
HINT = "`nnunet-trainer trainers` lists them all; a trainer of your own names a base and a recipe."

Preset = tuple[str | None, dict[str, Any], str]
"""The trainer it is based on, what it changes, and what it is for."""

_EPOCHS = re.compile(r"(.+)_(\d{1,7})epochs?(_NoMirroring)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainers:
    """All trainers that somebody knows.

    Args:
        presets: by name.
        shape: of a recipe, with its defaults.
        find: the components.
        names_pass: a trainer or component that is not known is left to whoever trains: a plug-in may bring it.
        fields_pass: so is a field or a parameter: another image may have it.
    """

    presets: Mapping[str, Preset]
    shape: Shape
    find: Find
    names_pass: bool = False
    fields_pass: bool = False

    def read(self, changes: Any, base: dict[str, Any] | None = None) -> dict[str, Any]:
        """A recipe as data, on top of another one. Nested objects merge, lists replace.

        Raises:
            BadConfiguration: an unknown field, component or parameter (with the nearest names), or a value out of its range.
        """
        return self._checked(changes, defaults(self.shape) if base is None else base)

    def recipe(self, name: str) -> dict[str, Any]:
        """The recipe of a trainer. `<trainer>_<N>epochs` and `<trainer>_<N>epochs_NoMirroring` are known for any N.

        Raises:
            BadConfiguration: no trainer has this name; the nearest ones are named.
        """
        if name in self.presets:
            base, changes, _ = self.presets[name]
            return self.read(changes, self.recipe(base) if base is not None else None)
        found = _EPOCHS.fullmatch(name)
        if found is not None and found[1] in self.presets and int(found[2]) > 0:
            mirroring: dict[str, Any] = {"augmentation": {"mirrorAxes": []}} if found[3] else {}
            return self.read({"epochs": int(found[2])} | mirroring, self.recipe(found[1]))
        raise BadConfiguration("UnknownTrainer", unknown_name("trainer", name, self.presets), hint=HINT)

    def known(self, name: str) -> bool:
        """Whether a trainer has this name."""
        found = _EPOCHS.fullmatch(name)
        return name in self.presets or (found is not None and found[1] in self.presets and int(found[2]) > 0)

    def resolve(self, name: str, base: str | None = None, changes: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The recipe of a trainer that may change another one; None when it cannot be known here (`names_pass`).

        Args:
            name: the trainer; with `changes` a new name, made of letters, digits, `_`, `-` and `.`.
            base: what is changed (default: nnUNetTrainer).
            changes: as in a recipe file.

        Raises:
            BadConfiguration: the name is taken, or stands for nothing; the changes do not fit.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name) or "__" in name:
            raise BadConfiguration(
                "InvalidTrainerName",
                f"The trainer's name {name!r} becomes part of a folder's name: letters, digits, _ (not twice in a row), "
                "- and . only.",
            )
        if not changes:
            if base is not None and base != name:
                raise BadConfiguration(
                    "EmptyRecipe", f"The trainer {name!r} is based on {base!r} and changes nothing.", hint=f"Use {base}."
                )
            return None if self.names_pass and not self.known(name) else self.recipe(name)
        if self.known(name):
            raise BadConfiguration(
                "TrainerNameTaken",
                f"The recipe changes a trainer, so it needs a name of its own; {name!r} stands for nnU-Net's.",
                hint=f"Give it a new name, and say base: {name}.",
            )
        changed = base or DEFAULT
        if self.names_pass and not self.known(changed):
            self._checked(changes, {})
            return None
        return self.read(changes, self.recipe(changed))

    def _checked(self, changes: Any, base: dict[str, Any]) -> dict[str, Any]:
        checker = Checker(find=self.find, names_pass=self.names_pass, fields_pass=self.fields_pass)
        recipe: dict[str, Any] = checker.check(self.shape, changes, "recipe", base)
        recipe_rules.check(recipe, self.shape, checker)
        return recipe
