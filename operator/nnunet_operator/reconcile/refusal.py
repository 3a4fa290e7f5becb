"""A child that the API server does not take (quota, admission, permissions): a condition of its owner, not only a line in a log."""

from __future__ import annotations

from typing import Any

from ..api import reasons
from . import conditions
from .outcome import Outcome
from .turn import Turn
from .view import Manifest, View


def refused(view: View[Any], child: Manifest, why: str) -> Outcome:
    """What a shell writes when making `child` was refused; it tries again, and the next Outcome takes this back."""
    turn = Turn.begin(view, view.object.status)
    what = f"{child['kind']} {child['metadata']['name']}"
    text = f"The API server refuses {what}: {why.strip().rstrip('.')}. It is tried again."
    conditions.write(turn, "Stalled", reasons.CHILD_REFUSED, text)
    return turn.end()
