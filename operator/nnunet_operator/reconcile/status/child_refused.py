"""A child that the API server does not take (quota, admission, permissions): a condition of its owner, not only a line in a log."""

from __future__ import annotations

from typing import Any

from ...api import conditions as kinds
from ...api import reasons
from ..outcome import Outcome
from ..scope import Scope
from ..view import Manifest, View
from . import conditions
from .conclude import conclude
from .sentences import KEEP_RESULTS

READY_CONDITIONS = (kinds.READY, kinds.RECONCILING, kinds.STALLED)


def refused(view: View[Any], child: Manifest, why: str, decided: Outcome) -> Outcome:
    """What a shell writes in place of `decided` when making `child` was refused.

    All else that was decided stays: what runs beside the child is reported, and what has ended makes room for it. The shell tries
    again; a Job that was asked for and is not there is asked for again, and the next Outcome takes this back.
    """
    stored = view.object.status
    scope = Scope.begin(view, type(stored).model_validate(decided.status))
    ready = kinds.find(scope.status.conditions, kinds.READY)
    # As they were: between two refusals nothing has changed, and nothing is written.
    kept = [condition for condition in stored.conditions if condition.type in READY_CONDITIONS]
    scope.status.conditions = [*kinds.drop_condition(scope.status.conditions, *READY_CONDITIONS), *kept]
    what = f"{child['kind']} {child['metadata']['name']}"
    text = f"{what} is refused: {why.strip().rstrip('.')}. It is tried again."
    if view.object.metadata.deletion_timestamp is not None:
        text += f" {KEEP_RESULTS}"
    # Where something else of it is at work, that goes on without a person.
    conditions.set_ready(scope, "Reconciling" if view.jobs else "Stalled", reasons.CHILD_REFUSED, text)
    scope.outcome.delete, scope.outcome.delete_self = decided.delete, decided.delete_self
    scope.outcome.delete_once_stored = decided.delete_once_stored
    scope.outcome.events = [event for event in decided.events if ready is None or event.reason != ready.reason]
    scope.outcome.look_again = decided.look_again
    return conclude(scope)
