"""Calling a planner's steps: each is found by name, and what it answers is looked at."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Component, calls, kinds
from nnunet_trainer.extensions.schema import Choice
from nnunet_trainer.extensions.time_limit import TookTooLong, within

SECONDS = 60
"""A plug-in's step that takes longer is taken to loop for ever: nnU-Net's own take a millisecond."""


def call(kind: str, choice: Choice, *arguments: Any) -> Any:
    """What a step answers.

    Raises:
        BadConfiguration: there is no such step; a plug-in's one fails, or takes too long (with the line where it is).
    """
    tried = getattr(arguments[0], "tried", ())
    return guarded(kind, choice, kinds.find(kind, choice.name).make, *arguments, tried=tried, **choice.parameters)


def guarded(
    kind: str, choice: Choice, function: Callable[..., Any], /, *arguments: Any, tried: Sequence[Any] = (), **parameters: Any
) -> Any:
    """What a function of a step answers.

    Args:
        kind: of the step.
        choice: the step.
        function: to call with the arguments and parameters.
        tried: grows with what the step tries, for the message of one that tries for ever.

    Raises:
        BadConfiguration: as by `call`.
    """
    component = kinds.find(kind, choice.name)
    if component.plugin is None:
        return function(*arguments, **parameters)
    what = f"The step {kind} {choice.name!r} ({component.place})"
    call_it = functools.partial(calls.guarded_as, "PlannerStepFailed", what, function, *arguments, **parameters)
    try:
        return within(SECONDS, call_it, of=component.place.rpartition(":")[0])
    except TookTooLong as late:
        raise _endless(component, kind, late, tried) from None
    except BadConfiguration as fault:
        if isinstance(missing := fault.__cause__, KeyError):
            other = f"where {missing} is a field of the fingerprint, extract it with the extractor that adds that"
            fault.hint = f"Mend the plug-in; or, {other} (spec.fingerprint of the Dataset; --extractor)."
        raise


def fail(kind: str, choice: Choice, found: Any, expected: str) -> BadConfiguration:
    """The fault of a step that answers something else."""
    component = kinds.find(kind, choice.name)
    return BadConfiguration(
        "PlannerStepFailed",
        f"The step {kind} {choice.name!r} ({component.place}) answers {_short(found)}; {expected} was expected.",
        hint="Mend the plug-in." if component.plugin else "",
    )


def numbers(found: Any, count: int, kind: str, choice: Choice, what: str) -> list[Any]:
    """So many positive finite numbers, as a step should answer them."""
    expected = f"{count} positive numbers ({what})"
    try:
        values = list(found)
        if len(values) == count and all(math.isfinite(value) and value > 0 for value in values):
            return values
    except TypeError:
        pass
    raise fail(kind, choice, found, expected)


def _short(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 200 else f"{text[:200]} …"


def first_and_last(tried: Sequence[Any]) -> str:
    """Of a long list what it began and ended with."""
    if len(tried) <= 6:
        return ", ".join(map(str, tried))
    return f"first {', '.join(map(str, tried[:3]))}; last {', '.join(map(str, tried[-3:]))}"


def _endless(component: Component[Any], kind: str, late: TookTooLong, tried: Sequence[Any]) -> BadConfiguration:
    """The fault of a plug-in's step that takes too long; `tried`: the patches or spacings that it has had planned."""
    where = f"it is at {late.file}, line {late.line}" if late.file else "where it is is not known"
    so_far = f" It has tried {len(tried):,}: {first_and_last(tried)}." if tried else ""
    return BadConfiguration(
        "PlanningEndless",
        f"The step {kind} {component.name!r} ({component.place}) has not ended after {SECONDS:g} seconds; {where}.{so_far}",
        hint="Mend the plug-in: a step answers from a few numbers, in less than a second.",
    )
