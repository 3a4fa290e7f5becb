"""Copies of what is read from JSON: objects, lists and values that never change."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def copied(data: T) -> T:
    """A copy that shares no object and no list with `data`; faster than copy.deepcopy, which takes any data."""
    if isinstance(data, dict):
        return {key: copied(value) for key, value in data.items()}  # type: ignore[return-value]
    if isinstance(data, list):
        return [copied(value) for value in data]  # type: ignore[return-value]
    return data
