"""What differs between two plans."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

ABSENT = object()


def difference(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """One line for each field that differs: its path, what it was, what it is. Lists are compared whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from difference(before.get(key, ABSENT), after.get(key, ABSENT), f"{where}.{key}" if where else str(key))
    elif before is ABSENT or after is ABSENT or before != after:
        yield f"{where}: {_shown(before)} → {_shown(after)}"


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    return json.dumps(value)
