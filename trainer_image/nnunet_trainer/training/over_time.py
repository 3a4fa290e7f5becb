"""Parameters that change during the training: piecewise linear between [fraction of the epochs, value]."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from nnunet_trainer.contract.shapes import Checker, near

from .reading import Choice, invalid, parameters

Knots = Sequence[Sequence[float]]
"""(fraction of the epochs, value), in order; the first value holds before the first knot, the last one after the last."""

OPTIMIZER = ("momentum", "weightDecay")
"""What may change of an optimizer (its learning rate has the schedule)."""


def value(knots: Knots, fraction: float) -> float:
    """What a parameter is after a fraction of the epochs."""
    place = bisect_right([knot[0] for knot in knots], fraction)
    if place in (0, len(knots)):
        return knots[max(0, place - 1)][1]
    (start, before), (end, after) = knots[place - 1], knots[place]
    return before + (after - before) * (fraction - start) / (end - start)


def at(changes: Mapping[str, Knots], kind: str, fraction: float) -> dict[str, float]:
    """The values of a kind's parameters (`loss`, `optimizer`), by Python name."""
    return {_name(key)[1]: value(knots, fraction) for key, knots in changes.items() if _name(key)[0] == kind}


def check(changes: Mapping[str, Knots], choices: Mapping[str, Choice]) -> None:
    """Whether components have these parameters, and may have these values.

    Args:
        changes: by `loss.<parameter>` or `optimizer.<parameter>`.
        choices: the components by kind.

    Raises:
        BadConfiguration: one is unknown or no number, or its knots are not in order or out of range.
    """
    from . import components

    for key, knots in changes.items():
        where = f"recipe.overTime.{key}"
        kind, _, parameter = key.partition(".")
        if kind not in choices:
            raise invalid(where, f"loss.<parameter> or optimizer.<parameter> was expected, found {key!r}.")
        choice = choices[kind]
        shapes = parameters(components.find(kind, choice.name))
        numbers = {k: s for k, s in shapes.items() if s["type"] in ("number", "integer") and (kind == "loss" or k in OPTIMIZER)}
        if parameter not in numbers:
            known = near(parameter, numbers) or ", ".join(numbers) or "none"
            raise invalid(where, f"{choice.name} has no such number that can change during the training; it has {known}.")
        places = [knot[0] for knot in knots if len(knot) == 2]
        if not knots or len(places) != len(knots) or places != sorted(set(places)) or not 0 <= places[0] <= places[-1] <= 1:
            raise invalid(
                where, f"[fraction of the epochs, value] in rising order were expected, found {[list(k) for k in knots]}."
            )
        for _, item in knots:
            Checker(find=components.parameters).check(numbers[parameter], item, where)


def _name(key: str) -> tuple[str, str]:
    kind, _, parameter = key.partition(".")
    return kind, "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in parameter)
