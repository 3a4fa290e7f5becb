"""Trainers by name: nnU-Net's classes are recipes that differ from the default in a few fields."""

from __future__ import annotations

import re
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration, unknown_name

from . import recipe as recipes
from .recipe import Recipe

DEFAULT = "nnUNetTrainer"

Preset = tuple[str | None, dict[str, Any], str]
"""The trainer it is based on, what it changes (as a recipe file says it), and what it is for."""

PRESETS: dict[str, Preset] = {
    DEFAULT: (None, {}, "nnU-Net's default"),
    **{
        f"{DEFAULT}_{n}epoch{'s' if n > 1 else ''}": (DEFAULT, {"epochs": n}, f"{n} epochs instead of 1000")
        for n in (1, 5, 10, 20, 50, 100, 250, 500, 750, 2000, 4000, 8000)
    },
    "nnUNetTrainerBenchmark_5epochs": (DEFAULT, {"epochs": 5}, "how long an epoch takes"),
    "nnUNetTrainerAdam": (DEFAULT, {"optimizer": {"name": "AdamW", "amsgrad": True, "weightDecay": 3e-5}}, "AdamW with amsgrad"),
    "nnUNetTrainerVanillaAdam": (DEFAULT, {"optimizer": {"name": "Adam", "weightDecay": 3e-5}}, "Adam"),
    "nnUNetTrainerAdam1en3": ("nnUNetTrainerAdam", {"optimizer": {"learningRate": 1e-3}}, "AdamW, learning rate 1e-3"),
    "nnUNetTrainerAdam3en4": ("nnUNetTrainerAdam", {"optimizer": {"learningRate": 3e-4}}, "AdamW, learning rate 3e-4"),
    "nnUNetTrainerVanillaAdam1en3": ("nnUNetTrainerVanillaAdam", {"optimizer": {"learningRate": 1e-3}}, "Adam, learning rate 1e-3"),
    "nnUNetTrainerVanillaAdam3en4": ("nnUNetTrainerVanillaAdam", {"optimizer": {"learningRate": 3e-4}}, "Adam, learning rate 3e-4"),
    "nnUNetTrainerCosAnneal": (DEFAULT, {"schedule": "cosine"}, "cosine annealing"),
    "nnUNetTrainerBN": (DEFAULT, {"network": {"normalization": "batch"}}, "batch normalization"),
    "nnUNetTrainerNoDeepSupervision": (DEFAULT, {"deepSupervision": False}, "no deep supervision"),
    "nnUNetTrainerCELoss": (DEFAULT, {"loss": "CE"}, "cross-entropy"),
    "nnUNetTrainerCELoss_5epochs": ("nnUNetTrainerCELoss", {"epochs": 5}, "cross-entropy, 5 epochs"),
    "nnUNetTrainerDiceLoss": (DEFAULT, {"loss": "Dice"}, "soft Dice"),
    "nnUNetTrainerDiceCELoss_noSmooth": (DEFAULT, {"loss": {"smooth": 0.0}}, "Dice without smoothing, and cross-entropy"),
    "nnUNetTrainerTopk10Loss": (DEFAULT, {"loss": {"name": "TopK", "percent": 10.0}}, "cross-entropy of the hardest 10 %"),
    "nnUNetTrainerTopk10LossLS01": (
        "nnUNetTrainerTopk10Loss",
        {"loss": {"labelSmoothing": 0.1}},
        "cross-entropy of the hardest 10 %, labels smoothed by 0.1",
    ),
    "nnUNetTrainerDiceTopK10Loss": (DEFAULT, {"loss": {"name": "DiceTopK", "percent": 10.0}}, "Dice and the hardest 10 %"),
    "nnUNetTrainer_probabilisticOversampling": (DEFAULT, {"sampling": {"probabilistic": True}}, "foreground drawn for each sample"),
    "nnUNetTrainer_probabilisticOversampling_033": (
        "nnUNetTrainer_probabilisticOversampling",
        {"sampling": {"oversampleForeground": 0.33}},
        "foreground drawn for each sample, p 0.33",
    ),
    "nnUNetTrainer_probabilisticOversampling_010": (
        "nnUNetTrainer_probabilisticOversampling",
        {"sampling": {"oversampleForeground": 0.1}},
        "foreground drawn for each sample, p 0.1",
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of a trainer. `<trainer>_<N>epochs` is known for any N.

    Raises:
        BadConfiguration: no trainer has this name; the nearest ones are named.
    """
    if name in PRESETS:
        base, changes, _ = PRESETS[name]
        return recipes.read(changes, recipe(base) if base is not None else None)
    epochs = re.fullmatch(r"(.+)_(\d{1,7})epochs?", name)
    if epochs is not None and epochs[1] in PRESETS and int(epochs[2]) > 0:
        return recipes.read({"epochs": int(epochs[2])}, recipe(epochs[1]))
    raise BadConfiguration("UnknownTrainer", unknown_name("trainer", name, PRESETS))


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
    if name in PRESETS:
        raise BadConfiguration(
            "TrainerNameTaken",
            f"The recipe changes a trainer, so it needs a name of its own; {name!r} stands for nnU-Net's.",
            hint=f"Give it a new name, and say base: {name}.",
        )
    return recipes.read(changes, recipe(base or DEFAULT))
