"""torch's optimizers without the import of torch.compile's machinery, which takes every process that trains 4 seconds of a core.

torch imports it in an optimizer's first call, to leave optimizers out of compiled graphs. Networks and losses are compiled here,
but no optimizer: it needs no leaving out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)
KEPT_OUT = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
"""Methods that torch keeps out of graphs, besides `step`."""


def make(kind: type[Kind], *arguments: Any, **named: Any) -> Kind:
    """`kind(*arguments, **named)`: an optimizer of exactly this class, whose own methods are those within torch's decorators."""
    optimizer = kind.__new__(kind)
    for name in KEPT_OUT:
        setattr(optimizer, name, partial(inspect.unwrap(getattr(kind, name)), optimizer))
    optimizer.step = partial(step(kind), optimizer)  # type: ignore[method-assign]
    optimizer.__init__(*arguments, **named)  # type: ignore[misc]
    return optimizer


def step(kind: type[Optimizer]) -> Callable[..., Any]:
    """A class's `step`, a function of an optimizer: its gradients are not followed."""
    return torch.no_grad()(inspect.unwrap(kind.step))
