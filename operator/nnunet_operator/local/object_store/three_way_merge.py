"""What an apply makes of an object: the three-way merge of `kubectl apply`, on plain data."""

from __future__ import annotations

from typing import Any

from .json_copy import copied

Manifest = dict[str, Any]


def merged(live: Any, last: Any, wanted: Any) -> Any:
    """`wanted` laid over `live`: objects merge, lists and values replace, what `last` named and `wanted` does not goes."""
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return copied(wanted)
    before = last if isinstance(last, dict) else {}
    gone = set(before) - set(wanted)
    result = {key: copied(value) for key, value in live.items() if key not in gone}
    for key in gone & set(live):
        # An object that we named in part may hold what others have set: only our part of it goes.
        if isinstance(live[key], dict) and isinstance(before[key], dict) and (rest := merged(live[key], before[key], {})):
            result[key] = rest
    for key, value in wanted.items():
        result[key] = merged(live.get(key), before.get(key), value)
    return result


def patched(live: Any, patch: Any) -> Any:
    """What a merge patch (RFC 7386) makes of `live`: objects merge, a null takes away, all else replaces."""
    if not isinstance(patch, dict):
        return copied(patch)
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = patched(result.get(key), value)
    return result
