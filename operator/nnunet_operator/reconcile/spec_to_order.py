"""From the spec to the work order, by name: a field of the order that a part of the spec has too is taken over.

So a new field takes one line in the API and one in the contract. Its default stands in the contract alone
(`work_order.default`): what the spec does not have is left out here.
"""

from __future__ import annotations

import dataclasses
import typing
from functools import cache
from typing import Any, TypeVar

from ..api.base import SpecModel

T = TypeVar("T")


def build(kind: type[T], *parts: SpecModel | None, **given: Any) -> T:
    """An order, or a part of one (a dataclass of `contract.work_order`), from parts of a spec.

    Args:
        kind: the dataclass. Of each field that `given` does not hold, the first part that has a value decides; none: its default.
        parts: where fields of that name are looked for. A model becomes the dataclass of the field's type, by the same rule.
        given: fields that are not in the spec, or are more than what is written there.

    Raises:
        TypeError: a field without a default is found nowhere; a field is given that the order does not have.
    """
    found: dict[str, Any] = {}
    present = [part for part in parts if part is not None]
    for name, nested in _fields(kind).items():  # type: ignore[arg-type]
        if name in given:
            continue
        values = (getattr(part, name) for part in present if name in type(part).model_fields)
        value = next((value for value in values if value is not None), None)
        if value is not None:
            found[name] = _convert(nested, value)
    return kind(**found, **given)


@cache
def _fields(kind: Any) -> dict[str, type | None]:
    """The fields of a dataclass, and of each the dataclass in its type, if any (in `X | None`, `list[X]`, `dict[str, X]` too)."""
    hints = typing.get_type_hints(kind)
    return {field.name: _dataclass_in(hints[field.name]) for field in dataclasses.fields(kind)}


def _dataclass_in(hint: Any) -> type | None:
    if dataclasses.is_dataclass(hint):
        return typing.cast(type, hint)
    return next((found for argument in typing.get_args(hint) if (found := _dataclass_in(argument))), None)


def _convert(nested: type | None, value: Any) -> Any:
    if isinstance(value, SpecModel):
        if nested is None:
            raise TypeError(f"{type(value).__name__} has no counterpart in the work order")
        return build(nested, value)
    if isinstance(value, list):
        return [_convert(nested, item) for item in value]
    if isinstance(value, dict):
        return {key: _convert(nested, item) for key, item in value.items()}
    return value
