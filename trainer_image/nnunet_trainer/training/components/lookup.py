"""All kinds of components that a recipe names, found by kind and name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnunet_trainer.contract.catalogue.shapes import Shape
from nnunet_trainer.extensions import Component, Registry, schema

KINDS = ("loss", "optimizer", "schedule", "augmentation", "network")


def registry(kind: str) -> Registry[Callable[..., Any]]:
    """A registry with its built-in components in it. They are imported here, when somebody looks: all but schedules need torch."""
    match kind:
        case "loss":
            from .losses import LOSSES

            return LOSSES
        case "optimizer":
            from .optimizers import OPTIMIZERS

            return OPTIMIZERS
        case "schedule":
            from .schedules import SCHEDULES

            return SCHEDULES
        case "augmentation":
            from ..data.augmentation import AUGMENTATIONS

            return AUGMENTATIONS
        case "network":
            from nnunet_trainer.architecture import NETWORKS

            return NETWORKS
        case _:
            raise KeyError(kind)


def find(kind: str, name: str) -> Component[Callable[..., Any]]:
    """A component by kind and name.

    Raises:
        BadConfiguration: there is none; the message has the nearest names and the list.
    """
    return registry(kind)[name]


def parameters(kind: str, name: str) -> dict[str, Shape]:
    """The parameters of a component (`contract.catalogue.shapes.Find`).

    Raises:
        BadConfiguration: there is no such component.
    """
    return schema.parameters(find(kind, name))
