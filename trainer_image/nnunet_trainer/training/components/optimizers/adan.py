"""Adan, which torch does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..registries import OPTIMIZERS
from .parameter_ranges import Decay, Momentum, Rate
from .uncompiled import make


class Adan(torch.optim.Optimizer):
    """Adaptive Nesterov momentum: m, v, n follow the gradient, its change, and the square of both together.

    Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models", 2022, with bias correction.

    Args:
        params: parameters or groups.
        lr: step size.
        betas: how fast m, v and n follow (1 - β of Adam's convention).
        eps: added to √n.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float, float] = (0.02, 0.08, 0.01),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, rates = self.state[parameter], group["betas"]
        if not state:
            state.update({name: torch.zeros_like(parameter) for name in ("m", "v", "n")}, step=0, previous=gradient.clone())
        state["step"] += 1
        change = gradient - state["previous"]
        looked_ahead = gradient + (1 - rates[1]) * change
        for name, rate, value in zip("mvn", rates, (gradient, change, looked_ahead.square()), strict=True):
            state[name].lerp_(value, rate)
        m, v, n = (state[name] / (1 - (1 - rate) ** state["step"]) for name, rate in zip("mvn", rates, strict=True))
        parameter.sub_(group["lr"] * (m + (1 - rates[1]) * v) / (n.sqrt() + group["eps"]))
        parameter.div_(1 + group["lr"] * group["weight_decay"])
        state["previous"].copy_(gradient)


@OPTIMIZERS.register("Adan")
def adan(
    groups: Any,
    *,
    learning_rate: Rate = 1e-2,
    weight_decay: Decay = 3e-5,
    beta1: Momentum = 0.02,
    beta2: Momentum = 0.08,
    beta3: Momentum = 0.01,
    eps: Rate = 1e-8,
) -> torch.optim.Optimizer:
    """Adaptive Nesterov momentum."""
    return make(Adan, groups, learning_rate, (beta1, beta2, beta3), eps, weight_decay)
