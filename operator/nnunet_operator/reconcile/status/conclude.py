"""The end of a reconciliation."""

from __future__ import annotations

from typing import Any

from ...api import conditions, reasons
from ...api.base import unknown_fields
from ..outcome import Outcome
from ..scope import Scope
from .events import record_change_of_ready


def conclude(scope: Scope[Any]) -> Outcome:
    """The Outcome: the status as it shall be, and an event where Ready has changed and nothing else has announced that."""
    _say_what_is_ignored(scope)
    scope.status.observed_generation = scope.view.object.metadata.generation
    scope.outcome.status = scope.status.to_json()
    if not scope.announced:
        record_change_of_ready(scope.outcome, scope.view.object.status, scope.status)
    return scope.outcome


def _say_what_is_ignored(scope: Scope[Any]) -> None:
    """The condition FieldsIgnored: of what the spec says and this version does not know."""
    status, metadata = scope.status, scope.view.object.metadata
    ignored = list(unknown_fields(scope.view.object.spec, "spec"))
    if not ignored:
        status.conditions = conditions.drop_condition(status.conditions, conditions.FIELDS_IGNORED)
        return
    known = "not known to this version of the operator, and without effect. Upgrade the operator, or leave it out."
    text = f"{', '.join(ignored)}: {known}"
    if not conditions.is_true(status.conditions, conditions.FIELDS_IGNORED):
        scope.outcome.record(reasons.UNKNOWN_FIELD, text, warning=True)
    status.conditions = conditions.set_condition(
        status.conditions,
        conditions.FIELDS_IGNORED,
        True,
        reasons.UNKNOWN_FIELD,
        text,
        now=scope.now,
        generation=metadata.generation,
    )
