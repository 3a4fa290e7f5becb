"""Learning-rate schedules by name: what the base rate is multiplied by in each epoch.

A schedule is a pure function of the epoch and of what was logged so far, so that a resumed run needs no state of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from nnunet_trainer.extensions import Range

from .components import SCHEDULES

History = Mapping[str, Sequence[float]]
"""The log's lists, one value a finished epoch."""

Schedule = Callable[[int, History], float]


@SCHEDULES.register("poly")
def poly(epochs: int, *, exponent: Annotated[float, Range(0)] = 0.9) -> Schedule:
    """(1 - epoch/epochs)^exponent, nnU-Net's default."""
    return lambda epoch, history: (1 - epoch / epochs) ** exponent


@SCHEDULES.register("cosine")
def cosine(epochs: int, *, minimum: Annotated[float, Range(0, 1)] = 0.0) -> Schedule:
    """Half a cosine from 1 to `minimum`."""
    return lambda epoch, history: minimum + (1 - minimum) * (1 + math.cos(math.pi * epoch / epochs)) / 2


@SCHEDULES.register("constant")
def constant(epochs: int) -> Schedule:
    """The same rate throughout."""
    return lambda epoch, history: 1.0


def with_warm_up(make: Callable[[int], Schedule], epochs: int, warm_up: int) -> Schedule:
    """A linear rise over `warm_up` epochs, the last one with the whole rate; then the schedule over the rest."""
    if warm_up == 0:
        return make(epochs)
    rest = make(max(1, epochs - warm_up))
    return lambda epoch, history: (epoch + 1) / warm_up if epoch < warm_up else rest(epoch - warm_up, history)
