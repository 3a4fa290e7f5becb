"""The registries of training components. The built-in ones are imported when a name is first looked up."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from nnunet_trainer.contract.catalogue.shapes import Shape
from nnunet_trainer.extensions import Component, Registry

from ..recipes import reading

LOSSES: Registry[Callable[..., Any]] = Registry("loss")
"""Makers `(context: LossContext, **parameters) -> loss(logits, target)`."""

OPTIMIZERS: Registry[Callable[..., Any]] = Registry("optimizer")
"""Makers `(parameter_groups, *, learning_rate, **parameters) -> torch.optim.Optimizer`."""

SCHEDULES: Registry[Callable[..., Any]] = Registry("schedule")
"""Makers `(epochs, **parameters) -> Schedule`: what the learning rate is multiplied by in each epoch."""

_REGISTRIES: dict[str, Registry[Callable[..., Any]]] = {"loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
_BUILT_IN = {
    "loss": ("losses.v2", "losses.v1"),
    "optimizer": ("optimizers.torch_optimizers", "optimizers.own_optimizers"),
    "schedule": ("schedules",),
}

KINDS = (*_REGISTRIES, "augmentation", "network")
"""All kinds of components that a recipe names."""


def registry(kind: str) -> Registry[Callable[..., Any]]:
    """A registry with its built-in components imported."""
    if kind == "augmentation":
        from ..data.augmentation.config import AUGMENTATIONS

        return AUGMENTATIONS
    if kind == "network":
        from nnunet_trainer.architecture.registry import NETWORKS

        return NETWORKS
    for module in _BUILT_IN[kind]:
        importlib.import_module(f".{module}", __package__)
    return _REGISTRIES[kind]


def find(kind: str, name: str) -> Component[Callable[..., Any]]:
    """A component by kind and name.

    Raises:
        BadConfiguration: there is none; the message has the nearest names and the list.
    """
    return registry(kind)[name]


def parameters(kind: str, name: str) -> dict[str, Shape]:
    """The parameters of a component (`contract.shapes.Find`).

    Raises:
        BadConfiguration: there is no such component.
    """
    return reading.parameters(find(kind, name))
