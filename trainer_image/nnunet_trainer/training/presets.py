"""Trainers by name: nnU-Net's classes are recipes that differ from the default in a few fields."""

from __future__ import annotations

import re
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration, unknown_name

from . import recipe as recipes
from .preset_table import DEFAULT, V1, V2, Preset
from .recipe import Recipe

PRESETS: dict[str, Preset] = {**V2, **V1}

HINT = "`nnunet-trainer trainers` lists them all; a trainer of your own names a base and a recipe."
_EPOCHS = re.compile(r"(.+)_(\d{1,7})epochs?(_NoMirroring)?")


def recipe(name: str) -> Recipe:
    """The recipe of a trainer. `<trainer>_<N>epochs` and `<trainer>_<N>epochs_NoMirroring` are known for any N.

    Raises:
        BadConfiguration: no trainer has this name; the nearest ones are named.
    """
    if name in PRESETS:
        base, changes, _ = PRESETS[name]
        return recipes.read(changes, recipe(base) if base is not None else None)
    found = _EPOCHS.fullmatch(name)
    if found is not None and found[1] in PRESETS and int(found[2]) > 0:
        mirroring = {"augmentation": "noMirroring"} if found[3] else {}
        return recipes.read({"epochs": int(found[2])} | mirroring, recipe(found[1]))
    raise BadConfiguration("UnknownTrainer", unknown_name("trainer", name, PRESETS), hint=HINT)


def resolve(name: str, base: str | None = None, changes: dict[str, Any] | None = None) -> Recipe:
    """The recipe of a trainer that may change another one.

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
            f"The trainer's name {name!r} becomes part of a folder's name: letters, digits, _ (not twice in a row), - and . only.",
        )
    if not changes:
        if base is not None and base != name:
            raise BadConfiguration(
                "EmptyRecipe", f"The trainer {name!r} is based on {base!r} and changes nothing.", hint=f"Use {base}."
            )
        return recipe(name)
    if name in PRESETS or (_EPOCHS.fullmatch(name) and _EPOCHS.fullmatch(name)[1] in PRESETS):  # type: ignore[index]
        raise BadConfiguration(
            "TrainerNameTaken",
            f"The recipe changes a trainer, so it needs a name of its own; {name!r} stands for nnU-Net's.",
            hint=f"Give it a new name, and say base: {name}.",
        )
    return recipes.read(changes, recipe(base or DEFAULT))
