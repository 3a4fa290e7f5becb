"""Optimizers by name. Their defaults are nnU-Net's."""

from __future__ import annotations

from typing import Annotated, Any

import torch

from nnunet_trainer.extensions import Range

from ..registries import OPTIMIZERS

Rate = Annotated[float, Range(0, low_open=True)]
Decay = Annotated[float, Range(0)]
Momentum = Annotated[float, Range(0, 1, high_open=True)]


@OPTIMIZERS.register("SGD")
def sgd(
    groups: Any, *, learning_rate: Rate = 1e-2, weight_decay: Decay = 3e-5, momentum: Momentum = 0.99, nesterov: bool = True
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with Nesterov momentum."""
    return torch.optim.SGD(groups, learning_rate, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov and momentum > 0)


@OPTIMIZERS.register("Adam")
def adam(
    groups: Any,
    *,
    learning_rate: Rate = 1e-2,
    weight_decay: Decay = 3e-5,
    beta1: Momentum = 0.9,
    beta2: Momentum = 0.999,
    eps: Rate = 1e-8,
    amsgrad: bool = False,
) -> torch.optim.Optimizer:
    """Adam, with L2 regularisation."""
    return torch.optim.Adam(groups, learning_rate, (beta1, beta2), eps, weight_decay, amsgrad)


@OPTIMIZERS.register("AdamW")
def adamw(
    groups: Any,
    *,
    learning_rate: Rate = 1e-2,
    weight_decay: Decay = 3e-5,
    beta1: Momentum = 0.9,
    beta2: Momentum = 0.999,
    eps: Rate = 1e-8,
    amsgrad: bool = False,
) -> torch.optim.Optimizer:
    """Adam, with decoupled weight decay."""
    return torch.optim.AdamW(groups, learning_rate, (beta1, beta2), eps, weight_decay, amsgrad)
