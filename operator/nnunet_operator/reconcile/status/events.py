"""The event of a change of Ready, once for each change."""

from __future__ import annotations

import re

from ...api.common import CommonStatus
from ...api.conditions import READY, STALLED, find, is_true
from ..outcome import Outcome

NOTHING_HEARD = "; nothing heard from its pod since "
"""So a message goes on when a pod does not answer: how it stands, not something that has happened."""


def record_change_of_ready(outcome: Outcome, before: CommonStatus, after: CommonStatus) -> None:
    """Record that Ready has got another reason, or another status, where no event of this pass has that reason already."""
    old, new = find(before.conditions, READY), find(after.conditions, READY)
    if new is None or (old is not None and (old.reason, old.status) == (new.reason, new.status)):
        return
    if new.reason in {event.reason for event in outcome.events}:
        return
    message = re.sub(re.escape(NOTHING_HEARD) + r"[^;]*", "", new.message)
    outcome.record(new.reason, message, warning=is_true(after.conditions, STALLED))
