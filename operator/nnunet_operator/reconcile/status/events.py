"""The event of a change of Ready, once for each change that is more than the next step of a life that goes well."""

from __future__ import annotations

import re

from ...api import reasons
from ...api.common import CommonStatus
from ...api.conditions import READY, STALLED, find, is_true
from ..outcome import Outcome

NOTHING_HEARD = "; nothing heard from its pod since "
"""So a message goes on when a pod does not answer: how it stands, not something that has happened."""

STEPS = frozenset(
    {
        reasons.STARTING,
        reasons.VERIFYING,
        reasons.PLANNING,
        reasons.TRANSFERRING,
        reasons.PREPROCESSING,
        reasons.TRAINING,
    }
)
"""They stand in the conditions, with the time since when, and in `startTime`: an event would be a second write of the same, and
there are thousands of runs."""


def record_change_of_ready(outcome: Outcome, before: CommonStatus, after: CommonStatus) -> None:
    """Record that Ready has got another reason, or another status, where no event of this pass has that reason already.

    Of a step that follows from the one before it there is none.
    """
    old, new = find(before.conditions, READY), find(after.conditions, READY)
    if new is None or (old is not None and (old.reason, old.status) == (new.reason, new.status)):
        return
    if new.reason in STEPS:
        return
    if new.reason in {event.reason for event in outcome.events}:
        return
    message = re.sub(re.escape(NOTHING_HEARD) + r"[^;]*", "", new.message)
    outcome.record(new.reason, message, warning=is_true(after.conditions, STALLED))
