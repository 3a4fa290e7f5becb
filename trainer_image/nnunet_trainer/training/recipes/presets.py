"""Trainers by name: nnU-Net's classes are recipes that differ from the default in a few fields."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.catalogue.trainers import DEFAULT, HINT, Preset, Trainers
from nnunet_trainer.trainer_presets.v1 import V1
from nnunet_trainer.trainer_presets.v2 import V2

from ..components import lookup
from . import recipe as recipes
from .recipe import Recipe

__all__ = ["DEFAULT", "HINT", "PRESETS", "V2", "recipe", "resolve", "trainers"]

PRESETS: dict[str, Preset] = {**V2, **V1}


def trainers() -> Trainers:
    """All trainers and components that are known here, those of imported plug-ins too."""
    return Trainers(presets=PRESETS, shape=recipes.shape(), find=lookup.parameters)


def recipe(name: str) -> Recipe:
    """The recipe of a trainer. `<trainer>_<N>epochs` and `<trainer>_<N>epochs_NoMirroring` are known for any N.

    Raises:
        BadConfiguration: no trainer has this name; the nearest ones are named.
    """
    return recipes.of(trainers().recipe(name))


def resolve(name: str, base: str | None = None, changes: dict[str, Any] | None = None) -> Recipe:
    """The recipe of a trainer that may change another one (`contract.catalogue.trainers.Trainers.resolve`).

    Raises:
        BadConfiguration: the name is taken, or stands for nothing; the changes do not fit.
    """
    found = trainers().resolve(name, base, changes)
    assert found is not None  # only what others may know is not known
    return recipes.of(found)
