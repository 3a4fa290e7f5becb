"""Reading a report's summary: what a pod says is never trusted to have the right type, and never makes an invalid status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST = 1e18
"""Beyond this nothing that is counted or measured here makes sense; NaN and infinity neither."""

MOST_COUNTED = 10**12
"""Cases, epochs, tensors. Sums of a few of them stand in columns of `kubectl get`, which have so much room."""

MOST_BYTES = 2**62

MOST = 512
"""Entries of a list or a map that are taken over."""


def integer(said: Mapping[str, Any], key: str, most: int = MOST_COUNTED) -> int | None:
    """A count, or None."""
    value = said.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def share(said: Mapping[str, Any], key: str) -> float | None:
    """A number from 0 to 1 (a Dice score), or None."""
    value = _number(said.get(key))
    return value if value is not None and 0 <= value <= 1 else None


def number(said: Mapping[str, Any], key: str) -> float | None:
    """A finite number, or None."""
    return _number(said.get(key))


def text(said: Mapping[str, Any], key: str, longest: int = 256) -> str | None:
    """A text, cut to what the status takes, or None."""
    value = said.get(key)
    return value[:longest] if isinstance(value, str) and value else None


def flag(said: Mapping[str, Any], key: str) -> bool | None:
    """True, False, or None."""
    value = said.get(key)
    return value if isinstance(value, bool) else None


def numbers(said: Mapping[str, Any], key: str, most: int = 8) -> list[float] | None:
    """A list of finite numbers, or None when it is anything else."""
    value = said.get(key)
    if not isinstance(value, list) or len(value) > most:
        return None
    found = [_number(item) for item in value]
    return [item for item in found if item is not None] if None not in found else None


def integers(said: Mapping[str, Any], key: str, most: int = 8) -> list[int] | None:
    """A list of whole numbers, or None when it is anything else."""
    found = numbers(said, key, most)
    return [int(item) for item in found] if found is not None else None


def texts(said: Mapping[str, Any], key: str, longest: int = 256, most: int = MOST) -> dict[str, str] | None:
    """A map of names to texts; other values are written as text (a region's labels)."""
    value = said.get(key)
    if not isinstance(value, dict):
        return None
    return {str(name)[:256]: _plain(item)[:longest] for name, item in list(value.items())[:most]}


def shares(said: Mapping[str, Any], key: str) -> dict[str, float] | None:
    """A map of names to finite numbers; others are left out (the Dice of a label that is nowhere)."""
    value = said.get(key)
    if not isinstance(value, dict):
        return None
    pairs = ((str(name)[:256], _number(item)) for name, item in list(value.items())[:MOST])
    return {name: item for name, item in pairs if item is not None}


def maps(said: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """A map of names to objects."""
    value = said.get(key)
    return {str(name): item for name, item in value.items() if isinstance(item, dict)} if isinstance(value, dict) else {}


def objects(said: Mapping[str, Any], key: str, most: int = 64) -> list[dict[str, Any]]:
    """A list of objects."""
    value = said.get(key)
    return [item for item in value if isinstance(item, dict)][:most] if isinstance(value, list) else []


def lines(said: Mapping[str, Any], key: str, longest: int = 1024, most: int = 64) -> list[str] | None:
    """A list of texts, or None when there is none."""
    value = said.get(key)
    found = [item[:longest] for item in value if isinstance(item, str)][:most] if isinstance(value, list) else []
    return found or None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -LARGEST <= value <= LARGEST:
        return None
    return float(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)
