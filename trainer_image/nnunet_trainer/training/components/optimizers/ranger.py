"""Ranger, which torch does not have: rectified Adam with Lookahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..registries import OPTIMIZERS
from .parameter_ranges import Decay, Momentum, Rate
from .uncompiled import make, step


class Ranger(torch.optim.RAdam):
    """Rectified Adam whose weights are pulled halfway back to their slow average every few steps (Lookahead).

    Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2019; Zhang et al., "Lookahead Optimizer", 2019.

    Args:
        params: parameters or groups.
        every: steps between two pulls.
        pull: 1 keeps the fast weights, 0 the slow ones.
        kwargs: of RAdam.
    """

    def __init__(self, params: Any, *, every: int = 6, pull: float = 0.5, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        self.every, self.pull = every, pull

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step."""
        trained = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        for parameter in trained:
            if "slow" not in self.state[parameter]:
                before = parameter.detach().clone()
                # RAdam takes a state that is not empty for its own.
                self.state[parameter].update(
                    step=torch.zeros(()), exp_avg=torch.zeros_like(before), exp_avg_sq=torch.zeros_like(before), slow=before
                )
        _rectified_adam(self)
        for parameter in trained:
            state = self.state[parameter]
            if int(state["step"]) % self.every == 0:
                state["slow"].lerp_(parameter, self.pull)
                parameter.copy_(state["slow"])


_rectified_adam = step(torch.optim.RAdam)


@OPTIMIZERS.register("Ranger")
def ranger(
    groups: Any,
    *,
    learning_rate: Rate = 1e-2,
    weight_decay: Decay = 3e-5,
    beta1: Momentum = 0.95,
    beta2: Momentum = 0.999,
    eps: Rate = 1e-5,
) -> torch.optim.Optimizer:
    """Rectified Adam with Lookahead, as v1's Ranger."""
    return make(
        Ranger,
        groups,
        lr=learning_rate,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        decoupled_weight_decay=True,
    )
