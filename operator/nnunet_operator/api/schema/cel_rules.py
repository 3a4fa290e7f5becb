"""The CEL rules of a CRD's schema, evaluated on a manifest as the API server does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import cel

Schema = dict[str, Any]

_TRANSITION = re.compile(r"\boldSelf\b")
_NOTHING = object()


def violations(schema: Schema, new: Any, old: Any | None = None) -> list[str]:
    """Messages of all rules that an object breaks, `path: message`.

    Args:
        schema: structural schema with `x-kubernetes-validations`.
        new: the object, with defaults.
        old: what it replaces; without it rules about `oldSelf` do not count.
    """
    return list(_walk(schema, new, _NOTHING if old is None else old, ""))


@cache
def _program(rule: str) -> Any:
    return cel.compile(rule)


def _walk(schema: Schema, new: Any, old: Any, path: str) -> Iterator[str]:
    for validation in schema.get("x-kubernetes-validations", ()):
        rule = validation["rule"]
        if _TRANSITION.search(rule) and old is _NOTHING:
            continue
        variables = {"self": new} if old is _NOTHING else {"self": new, "oldSelf": old}
        problem = ""
        try:
            held = _program(rule).execute(variables)
        except (RuntimeError, TypeError, ValueError) as error:
            held, problem = False, f" (the rule could not be evaluated: {error})"
        if held is not True:
            where = (path + validation.get("fieldPath", "")).lstrip(".")
            yield f"{where}: {validation['message']}{problem}"
    if isinstance(new, dict):
        for name, item in new.items():
            before = old.get(name, _NOTHING) if isinstance(old, dict) else _NOTHING
            if name in schema.get("properties", {}):
                yield from _walk(schema["properties"][name], item, before, f"{path}.{name}" if path else name)
            elif "additionalProperties" in schema:
                yield from _walk(schema["additionalProperties"], item, before, f"{path}[{name}]")
    elif isinstance(new, list) and "items" in schema:
        for i, item in enumerate(new):
            yield from _walk(schema["items"], item, _counterpart(schema, item, old), f"{path}[{i}]")


def _counterpart(schema: Schema, item: Any, old: Any) -> Any:
    """The same item of the old list: only list-maps say which that is."""
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list) or not isinstance(item, dict):
        return _NOTHING
    keys = schema["x-kubernetes-list-map-keys"]
    return next((o for o in old if all(o.get(key) == item.get(key) for key in keys)), _NOTHING)
