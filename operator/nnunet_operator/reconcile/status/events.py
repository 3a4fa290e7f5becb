"""What people are told as it happens: each change of an object's standing, once."""

from __future__ import annotations

import re

from ...api.common import CommonStatus
from ...api.conditions import READY, STALLED, find, is_true
from ..outcome import Event

LONGEST = 1000
SILENT = "; nothing heard from its pod since "
"""So a message goes on when a pod does not answer: how it stands, not something that has happened."""


def between(before: CommonStatus, after: CommonStatus) -> list[Event]:
    """The events of one pass: Ready has got another reason, or another status."""
    old, new = find(before.conditions, READY), find(after.conditions, READY)
    if new is None or (old is not None and (old.reason, old.status) == (new.reason, new.status)):
        return []
    message = re.sub(re.escape(SILENT) + r"[^;]*", "", new.message)
    return [say(new.reason, message, warning=is_true(after.conditions, STALLED))]


def say(reason: str, message: str, *, warning: bool = False) -> Event:
    """One event, no longer than the API server takes."""
    text = message if len(message) <= LONGEST else message[: LONGEST - 1] + "…"
    return Event(type="Warning" if warning else "Normal", reason=reason, message=text)
