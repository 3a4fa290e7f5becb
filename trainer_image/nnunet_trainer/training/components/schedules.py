"""Learning-rate schedules by name: what the base rate is multiplied by in each epoch.

A schedule is a pure function of the epoch and of what was logged so far, so that a resumed run needs no state of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from nnunet_trainer.extensions import Range

from .registries import SCHEDULES

EpochLog = Mapping[str, Sequence[float]]
"""The log's lists, one value a finished epoch."""

Schedule = Callable[[int, EpochLog], float]


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


@SCHEDULES.register("cyclic")
def cyclic(
    epochs: int,
    *,
    length: Annotated[int, Range(2)] = 100,
    lowest: Annotated[float, Range(0, 1)] = 1e-4,
    highest: Annotated[float, Range(0, 1)] = 1.0,
) -> Schedule:
    """Triangles of `length` epochs from `lowest` to `highest` and back (Smith, "Cyclical learning rates", 2017)."""
    return lambda epoch, history: triangle(epoch % length, length, lowest, highest)


def triangle(place: int, length: int, lowest: float, highest: float) -> float:
    """From `lowest` to `highest` in the middle of `length` epochs, and back."""
    return lowest + (highest - lowest) * (1 - abs(1 - place / (length / 2)))


def beginning_at(first: int, schedule: Schedule) -> Schedule:
    """A schedule whose first epoch is this one; of the log it sees what came since."""
    if first == 0:
        return schedule
    return lambda epoch, history: schedule(epoch - first, {key: values[first:] for key, values in history.items()})


def with_warm_up(make: Callable[[int], Schedule], epochs: int, warm_up: int) -> Schedule:
    """A linear rise over `warm_up` epochs, the last one with the whole rate; then the schedule over the rest."""
    if warm_up == 0:
        return make(epochs)
    rest = make(max(1, epochs - warm_up))
    return lambda epoch, history: (epoch + 1) / warm_up if epoch < warm_up else rest(epoch - warm_up, history)


@SCHEDULES.register("plateau")
def plateau(
    epochs: int,
    *,
    factor: Annotated[float, Range(0, 1, low_open=True, high_open=True)] = 0.2,
    patience: Annotated[int, Range(0)] = 30,
    threshold: Annotated[float, Range(0)] = 1e-3,
    smoothing: Annotated[float, Range(0, 1, high_open=True)] = 0.93,
) -> Schedule:
    """Times `factor` whenever the moving average of the training loss has not fallen by `threshold` for `patience` epochs."""

    def rate(epoch: int, history: EpochLog) -> float:
        scale, best, waited, average = 1.0, math.inf, 0, math.nan
        for loss in history["train_losses"][:epoch]:
            average = loss if math.isnan(average) else smoothing * average + (1 - smoothing) * loss
            best, waited = (average, 0) if average < best - threshold else (best, waited + 1)
            if waited > patience:
                scale, waited = scale * factor, 0
        return scale

    return rate


@SCHEDULES.register("polyWithCycle")
def poly_with_cycle(
    epochs: int,
    *,
    length: Annotated[int, Range(2)] = 100,
    lowest: Annotated[float, Range(0, 1)] = 1e-4,
    highest: Annotated[float, Range(0, 1)] = 0.1,
    exponent: Annotated[float, Range(0)] = 0.9,
) -> Schedule:
    """`poly` over all but the last `length` epochs, then one triangle from `lowest` to `highest` and back (v1's cycleAtEnd)."""
    first = max(1, epochs - length)

    def rate(epoch: int, history: EpochLog) -> float:
        if epoch < first:
            return (1 - epoch / first) ** exponent
        return triangle(epoch - first, length, lowest, highest)

    return rate


Fractions = list[Annotated[float, Range(0, 1)]]
Factor = Annotated[float, Range(0, 1, low_open=True)]


@SCHEDULES.register("steps")
def stepped(epochs: int, *, at: Fractions, factor: Factor = 0.1) -> Schedule:
    """Times `factor` at each of these fractions of the training."""
    return lambda epoch, history: factor ** sum(epoch >= fraction * epochs for fraction in at)


@SCHEDULES.register("stepsThenPoly")
def stepped_then_poly(epochs: int, *, at: Fractions, factor: Factor = 0.1, exponent: Annotated[float, Range(0)] = 0.9) -> Schedule:
    """Times `factor` at each of these fractions of the training; from the last one on `poly` (v1's SGD_fixedSchedule2)."""
    last = max(at, default=0.0) * epochs

    def rate(epoch: int, history: EpochLog) -> float:
        rest = (1 - (epoch - last) / (epochs - last)) ** exponent if epoch >= last else 1.0
        return factor ** sum(epoch >= fraction * epochs for fraction in at) * rest

    return rate
