"""Parameters that change during the training: piecewise linear between [fraction of the epochs, value]."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

Knots = Sequence[Sequence[float]]
"""(fraction of the epochs, value), in order; the first value holds before the first knot, the last one after the last."""


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


def _name(key: str) -> tuple[str, str]:
    kind, _, parameter = key.partition(".")
    return kind, "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in parameter)
