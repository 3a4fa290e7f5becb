"""Moments of the API, and spans of time for people."""

from __future__ import annotations

from datetime import UTC, datetime


def parsed(text: object) -> datetime | None:
    """A moment as the API writes it, or None."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def ago(now: datetime, moment: datetime) -> str:
    """`45s`, `12m`, `3h`, `5d`."""
    seconds = max(0, int((now - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
