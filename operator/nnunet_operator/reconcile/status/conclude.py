"""The end of a reconciliation."""

from __future__ import annotations

from typing import Any

from ..outcome import Outcome
from ..scope import Scope
from .events import record_change_of_ready


def conclude(scope: Scope[Any]) -> Outcome:
    """The Outcome: the status as it shall be, and an event where Ready has changed and nothing else has announced that."""
    scope.status.observed_generation = scope.view.object.metadata.generation
    scope.outcome.status = scope.status.to_json()
    if not scope.announced:
        record_change_of_ready(scope.outcome, scope.view.object.status, scope.status)
    return scope.outcome
