"""Moments and durations, as Kubernetes writes them and as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

LONGEST = 100 * 365 * 86_400
"""Seconds. Whoever writes more means for ever, and a moment so far ahead may be none."""


def span(seconds: float) -> timedelta:
    """So many seconds, as a spec may ask for them: at most 100 years."""
    return timedelta(seconds=min(seconds, LONGEST))


def parse(text: Any) -> datetime | None:
    """A moment from RFC 3339, or None when it is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def time_of_day(moment: datetime) -> str:
    """`18:32:10 UTC`"""
    return moment.astimezone(UTC).strftime("%H:%M:%S UTC")


def timestamp(moment: datetime) -> str:
    """`2026-11-22 18:32:10 UTC`: an absolute time, since an age would change the status every second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """`45s`, `12m`, `5h12m`, `2d4h`"""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    return f"{hours // 24}d{hours % 24}h"
