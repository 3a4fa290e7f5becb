"""Stochastic gradient descent, nnU-Net's default, with its parameters."""

from __future__ import annotations

from typing import Any

import torch

from ..registries import OPTIMIZERS
from .parameter_ranges import Decay, Momentum, Rate
from .uncompiled import make


@OPTIMIZERS.register("SGD")
def sgd(
    groups: Any, *, learning_rate: Rate = 1e-2, weight_decay: Decay = 3e-5, momentum: Momentum = 0.99, nesterov: bool = True
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with Nesterov momentum."""
    nesterov = nesterov and momentum > 0
    return make(torch.optim.SGD, groups, learning_rate, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
