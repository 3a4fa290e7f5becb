"""What differs between two pieces of plain data, a line each."""

from __future__ import annotations

from typing import Any


def differences(where: str, theirs: Any, ours: Any, there: str = "in the checkpoint", here: str = "now") -> list[str]:
    """A line for each value that differs, by the path to it: `recipe.epochs: 5 in the checkpoint, 7 now`."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = [*theirs, *(key for key in ours if key not in theirs)]
        prefix = f"{where}." if where else ""
        return [line for key in keys for line in differences(f"{prefix}{key}", theirs.get(key), ours.get(key), there, here)]
    if isinstance(theirs, list | tuple) and isinstance(ours, list | tuple) and list(theirs) == list(ours):
        return []
    return [] if theirs == ours else [f"{where}: {theirs!r} {there}, {ours!r} {here}"]
