"""Editing plans declaratively."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration


def merge(content: Mapping[str, Any], patch: Mapping[str, Any], where: str = "patch") -> dict[str, Any]:
    """Objects merge, lists replace, null means null (it deletes nothing: plans hold nulls of their own).

    Raises:
        BadConfiguration: an object where the plans hold something else, or the other way round; the message names the field.
    """
    if not isinstance(patch, Mapping):
        raise BadConfiguration("InvalidPatch", f"{where} is {patch!r}, expected an object.")
    merged = deepcopy(dict(content))
    for key, value in patch.items():
        present, field = merged.get(key), f"{where}.{key}"
        if isinstance(present, Mapping) and value is not None:
            merged[key] = merge(present, value, field)
        elif isinstance(value, Mapping) and present is not None:
            raise BadConfiguration("InvalidPatch", f"{field} is an object, the plans hold {present!r} there.")
        else:
            merged[key] = deepcopy(value)
    return merged
