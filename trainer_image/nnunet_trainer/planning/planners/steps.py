"""Calling a planner's steps: each is found by name, and what it answers is looked at."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Component, calls, kinds
from nnunet_trainer.extensions.schema import Choice

SECONDS = 60
"""A plug-in's step that takes longer is taken to loop for ever: nnU-Net's own take a millisecond."""


def call(kind: str, choice: Choice, *arguments: Any) -> Any:
    """What a step answers.

    Raises:
        BadConfiguration: there is no such step; a plug-in's one fails, or takes too long (with the line where it is).
    """
    return guarded(kind, choice, kinds.find(kind, choice.name).make, *arguments, **choice.parameters)


def guarded(kind: str, choice: Choice, function: Callable[..., Any], /, *arguments: Any, **parameters: Any) -> Any:
    """What a function of a step answers.

    Raises:
        BadConfiguration: as by `call`.
    """
    component = kinds.find(kind, choice.name)
    if component.plugin is None:
        return function(*arguments, **parameters)
    with _limited(component, kind):
        what = f"The step {kind} {choice.name!r} ({component.place})"
        return calls.guarded_as("PlannerStepFailed", what, function, *arguments, **parameters)


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


@contextmanager
def _limited(component: Component[Any], kind: str) -> Iterator[None]:
    """Raise within a plug-in's function that takes too long. Only a process's main thread can; elsewhere there is no limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: FrameType | None) -> None:
        where = f"{frame.f_code.co_filename}, line {frame.f_lineno}" if frame else "nowhere that is known"
        raise BadConfiguration(
            "PlanningEndless",
            f"The step {kind} {component.name!r} ({component.place}) has not ended after {SECONDS:g} seconds; it is at {where}.",
            hint="Mend the plug-in: a step answers from a few numbers, in less than a second.",
        )

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
