"""The registries of losses, optimizers and schedules; `lookup` finds what is in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Component, Registry

LOSSES: Registry[Callable[..., Any]] = Registry("loss")
"""Makers `(context: LossContext, **parameters) -> loss(logits, target)`."""


class OptimizerRegistry(Registry[Callable[..., Any]]):
    """Makers `(parameter_groups, *, learning_rate, **parameters) -> torch.optim.Optimizer`."""

    def _checked(self, component: Component[Callable[..., Any]]) -> Component[Callable[..., Any]]:
        """That there is a rate for the schedule to multiply."""
        if "learning_rate" not in component.parameters:
            raise BadConfiguration(
                "InvalidOptimizer",
                f"The optimizer {component.name} ({component.place}) has no keyword-only argument learning_rate.",
                hint="Add one, as in (parameter_groups, *, learning_rate: float = 1e-2): the schedule multiplies it.",
            )
        return component


OPTIMIZERS = OptimizerRegistry("optimizer")

SCHEDULES: Registry[Callable[..., Any]] = Registry("schedule")
"""Makers `(epochs, **parameters) -> Schedule`: what the learning rate is multiplied by in each epoch."""
