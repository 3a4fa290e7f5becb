"""What the fields of a recipe ask of each other: rules that no shape of one field can say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..faults import BadConfiguration
from .shapes import Checker, Shape, near

CHANGING: dict[str, tuple[str, ...] | None] = {"loss": None, "optimizer": ("momentum", "weightDecay")}
"""Of each kind of component, the numbers that may change during the training; None: all. (A learning rate has the schedule.)"""


def check(recipe: Mapping[str, Any], shape: Shape, checker: Checker) -> None:
    """Check a recipe whose fields are right each for itself.

    Args:
        recipe: camelCase data, with all that it needs of its base.
        shape: of a recipe.
        checker: knows the components, and what may pass.

    Raises:
        BadConfiguration: the message names the field.
    """
    for key, knots in (recipe.get("overTime") or {}).items():
        _check_over_time(f"recipe.overTime.{key}", key, knots, recipe, checker)
    if recipe.get("validationIterations") == 0 and not recipe.get("fullEvaluation"):
        raise BadConfiguration(
            checker.reason,
            "recipe.validationIterations is 0, and there is no recipe.fullEvaluation: nothing would say which checkpoint is best.",
        )
    in_2d = recipe.get("in2d") or {}
    if "in2d" in in_2d:
        raise BadConfiguration(checker.reason, "recipe.in2d.in2d: there is no such field.")
    if in_2d:
        checker.check(shape, in_2d, "recipe.in2d", {key: value for key, value in recipe.items() if key != "in2d"})


def _check_over_time(where: str, key: str, knots: list[list[float]], recipe: Mapping[str, Any], checker: Checker) -> None:
    places = [knot[0] for knot in knots if len(knot) == 2]
    if not knots or len(places) != len(knots) or places != sorted(set(places)) or not 0 <= places[0] <= places[-1] <= 1:
        found = [list(knot) for knot in knots]
        raise BadConfiguration(
            checker.reason, f"{where}: [fraction of the epochs, value] in rising order were expected, found {found}."
        )
    kind, _, parameter = key.partition(".")
    if kind not in CHANGING:
        raise BadConfiguration(checker.reason, f"{where}: loss.<parameter> or optimizer.<parameter> was expected, found {key!r}.")
    name = (recipe.get(kind) or {}).get("name")
    try:
        shapes = checker.find(kind, str(name))
    except BadConfiguration:
        if checker.names_pass:
            return
        raise
    allowed = CHANGING[kind]
    numbers = {
        known: shape
        for known, shape in shapes.items()
        if shape["type"] in ("number", "integer") and (allowed is None or known in allowed)
    }
    if parameter not in numbers:
        if checker.fields_pass and parameter not in shapes:
            return
        known = near(parameter, numbers) or ", ".join(numbers) or "none"
        raise BadConfiguration(
            checker.reason, f"{where}: {name} has no such number that can change during the training; it has {known}."
        )
    for _, value in knots:
        checker.check(numbers[parameter], value, where)
