"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any

import torch

from ..registries import OPTIMIZERS
from .parameter_ranges import Decay, Momentum, Rate
from .uncompiled import make


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
    return make(torch.optim.Adam, groups, learning_rate, (beta1, beta2), eps, weight_decay, amsgrad)


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
    return make(torch.optim.AdamW, groups, learning_rate, (beta1, beta2), eps, weight_decay, amsgrad)
