"""What differs between two plans, for a reader and as a patch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration

ABSENT = object()


def difference(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """One line for each field that differs: its path, what it was, what it is. Lists are compared whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from difference(before.get(key, ABSENT), after.get(key, ABSENT), f"{where}.{key}" if where else str(key))
    elif before is ABSENT or after is ABSENT or before != after:
        yield f"{where}: {_shown(before)} → {_shown(after)}"


def patch_between(before: dict[str, Any], after: dict[str, Any], where: str = "") -> dict[str, Any]:
    """What `plans_patch.merge` makes the second plans of the first with.

    Raises:
        BadConfiguration: the second lack a field, or one of both has an object where the other has none: no patch does that.
    """
    patch: dict[str, Any] = {}
    for key, value in after.items():
        present = before.get(key, ABSENT)
        if isinstance(present, dict) and isinstance(value, dict):
            if inner := patch_between(present, value, f"{where}{key}."):
                patch[key] = inner
        elif present is ABSENT or present != value:
            if present not in (ABSENT, None) and value is not None and isinstance(present, dict) != isinstance(value, dict):
                raise _cannot(f"{where}{key} is {_shown(present)} in the first plans, {_shown(value)} in the second")
            patch[key] = value
    if lost := [key for key in before if key not in after]:
        raise _cannot(f"{where}{lost[0]} is in the first plans alone")
    return patch


def _cannot(found: str) -> BadConfiguration:
    return BadConfiguration(
        "InvalidPatch",
        f"No patch makes the second plans of the first: {found}.",
        hint="A patch adds and replaces; it takes nothing away.",
    )


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    return json.dumps(value)
