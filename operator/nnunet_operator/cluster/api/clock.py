"""This moment, by the API server's clock.

All that the operator compares a moment with (creation, deletion, the Jobs' conditions, its own statuses' times) was stamped in the
cluster. Our own clock may be set, hours forwards or back; then deadlines would end at once, or back-offs last for hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TOLERANCE = 2.0
"""Seconds by which an answer may disagree: its Date has whole seconds, and it was on its way for a while."""
JUMP = 60.0
"""Seconds from which on it is told that the server's clock was set."""


class ServerClock:
    """The API server's clock, told by the Date of its answers and carried on by our monotonic clock between them.

    Args:
        wall: our own clock, in Unix seconds; it counts until the first answer.
        monotonic: seconds that nobody can set.

    Attributes:
        jumped: called when the server's clock was set: what was to be looked at again after a while may be due now.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self.jumped: Callable[[], None] = lambda: None
        self._said = ""  # the last Date: it counts seconds, and answers come faster
        self._at_zero: float | None = None  # the server's Unix seconds when our monotonic clock was at 0

    def heard(self, date: str | None) -> None:
        """An answer came that bears this Date (RFC 9110); one that is none is no news."""
        if date == self._said:
            return
        try:
            said = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, OverflowError):
            return
        self._said = date or ""
        at_zero = said + 0.5 - self._monotonic()
        before = self._at_zero
        if before is None or abs(at_zero - before) > TOLERANCE:
            self._at_zero = at_zero
        if before is not None and abs(at_zero - before) > JUMP:
            self.jumped()

    def now(self) -> datetime:
        """This moment."""
        unix = self._wall() if self._at_zero is None else self._at_zero + self._monotonic()
        return datetime.fromtimestamp(unix, UTC)
