"""Making what a recipe names. What a plug-in's component answers is looked at: when it is made, and each time that it is called."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions.calls import guarded, guarded_as, require_answer
from nnunet_trainer.extensions.schema import Choice

from ..ranks import peer_faults
from . import lookup


def make(kind: str, choice: Choice, *arguments: Any) -> Any:
    """A loss, an optimizer or a schedule of a recipe.

    Args:
        kind: of the component.
        choice: its name and parameters.
        arguments: that it is made with.

    Raises:
        BadConfiguration: there is none of this name; a plug-in's one fails, or answers something else. Where it answers a function,
            that raises the same when it is called.
    """
    component = lookup.find(kind, choice.name)
    if component.plugin is None:
        return component.make(*arguments, **choice.parameters)
    what = f"The {kind} {component.name} ({component.place})"
    return _CHECKED[kind](what, guarded(what, component.make, *arguments, **choice.parameters))


def of_plugin(kind: str, name: str) -> str:
    """The plug-in that a component is of, for a message; "" for a built-in one."""
    plugin = lookup.find(kind, name).plugin
    return "" if plugin is None else str(plugin)


def place(kind: str, name: str) -> str:
    """File and line of a component."""
    return lookup.find(kind, name).place


def _loss(what: str, made: Any) -> Callable[[Tensor, Tensor], Tensor]:
    require_answer(callable(made), what, made, "a function of logits and target")

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        given = f"{what}, with logits {tuple(logits.shape)} and a target {tuple(target.shape)},"
        value = _called(given, made, logits, target)
        require_answer(isinstance(value, Tensor), given, value, "a tensor")
        shape = f"a tensor of shape {tuple(value.shape)}"
        require_answer(value.dim() == 0, given, shape, "one number (a mean, a sum)")
        if torch.is_grad_enabled() and logits.requires_grad:
            require_answer(
                value.requires_grad, given, "a number without a gradient", "one that is computed from the logits by torch"
            )
        return value

    return loss


def _called(what: str, function: Callable[..., Any], *arguments: Any, **parameters: Any) -> Any:
    """As `guarded`; but that another rank went away is no fault of a plug-in that adds up over ranks."""
    try:
        return guarded_as("PluginFailed", what, function, *arguments, **parameters)
    except BadConfiguration as fault:
        cause = fault.__cause__
        if cause is not None and peer_faults.is_broken_collective(cause):
            raise cause from None
        raise


def _optimizer(what: str, made: Any) -> torch.optim.Optimizer:
    require_answer(isinstance(made, torch.optim.Optimizer), what, made, "a torch.optim.Optimizer")
    found: torch.optim.Optimizer = made
    take_step = found.step

    @functools.wraps(take_step)
    def step(*arguments: Any, **parameters: Any) -> Any:
        return _called(f"{what}, in its step,", take_step, *arguments, **parameters)

    found.step = step  # type: ignore[method-assign]
    return found


def _schedule(what: str, made: Any) -> Callable[[int, Any], float]:
    require_answer(callable(made), what, made, "a function of epoch and history")

    def schedule(epoch: int, history: Any) -> float:
        factor = guarded(f"{what}, in epoch {epoch},", made, epoch, history)
        number = isinstance(factor, Real) and not isinstance(factor, bool)
        expected = "what the learning rate is multiplied by, a finite number that is not negative,"
        require_answer(number and math.isfinite(factor) and factor >= 0, f"{what}, in epoch {epoch},", factor, expected)
        return float(factor)

    return schedule


_CHECKED: dict[str, Callable[[str, Any], Any]] = {
    "loss": _loss,
    "optimizer": _optimizer,
    "schedule": _schedule,
}
