"""A child that the API server does not take (quota, admission, permissions): a condition of its owner, not only a line in a log."""

from __future__ import annotations

from typing import Any

from ...api import conditions as kinds
from ...api import reasons
from ..outcome import Outcome
from ..scope import Scope
from ..view import Manifest, View
from . import conditions

STANDING = (kinds.READY, kinds.RECONCILING, kinds.STALLED)


def refused(view: View[Any], child: Manifest, why: str, decided: Outcome) -> Outcome:
    """What a shell writes in place of `decided` when making `child` was refused.

    All else that was decided stays: what runs beside the child is reported, and what has ended makes room for it. The shell tries
    again; a Job that was asked for and is not there is asked for again, and the next Outcome takes this back.
    """
    stored = view.object.status
    scope = Scope.begin(view, type(stored).model_validate(decided.status))
    ready = kinds.find(scope.status.conditions, kinds.READY)
    # As they were: between two refusals nothing has changed, and nothing is written.
    kept = [condition for condition in stored.conditions if condition.type in STANDING]
    scope.status.conditions = [*kinds.drop_condition(scope.status.conditions, *STANDING), *kept]
    what = f"{child['kind']} {child['metadata']['name']}"
    text = f"{what} is refused: {why.strip().rstrip('.')}. It is tried again."
    # Where something else of it is at work, that goes on without a person.
    conditions.write(scope, "Reconciling" if view.jobs else "Stalled", reasons.CHILD_REFUSED, text)
    scope.out.delete, scope.out.delete_self = decided.delete, decided.delete_self
    scope.out.events = [event for event in decided.events if ready is None or event.reason != ready.reason]
    scope.out.look_again = decided.look_again
    return scope.end()
