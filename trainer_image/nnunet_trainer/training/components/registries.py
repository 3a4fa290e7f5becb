"""The registries of losses, optimizers and schedules; `lookup` finds what is in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnunet_trainer.extensions import Registry

LOSSES: Registry[Callable[..., Any]] = Registry("loss")
"""Makers `(context: LossContext, **parameters) -> loss(logits, target)`."""

OPTIMIZERS: Registry[Callable[..., Any]] = Registry("optimizer")
"""Makers `(parameter_groups, *, learning_rate, **parameters) -> torch.optim.Optimizer`."""

SCHEDULES: Registry[Callable[..., Any]] = Registry("schedule")
"""Makers `(epochs, **parameters) -> Schedule`: what the learning rate is multiplied by in each epoch."""
