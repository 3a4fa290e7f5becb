"""Dataclasses to and from JSON: camelCase outside, snake_case inside.

What is read may have been written by another version: a field that the dataclass does not have is skipped (`additions`
says what must not be). What is known must be of its type.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

SINCE = "since"
"""The key in a field's metadata of the version that added it."""


class CodecError(ValueError):
    """A JSON document that is not what the dataclass says; the message names the field.

    Args:
        where: the field, after the dataclass's name: `Report.error.code`; nothing where it is no JSON.
        what: what is wrong with it.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.path = where.partition(".")[2]


@cache
def camel(name: str) -> str:
    """`every_epochs` → `everyEpochs`."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def at_default(owner: Any, field: dataclasses.Field[Any]) -> bool:
    """Whether a field of a dataclass holds its default."""
    value = getattr(owner, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return bool(value == field.default)


def to_plain(value: Any, *, sparse: bool = False) -> Any:
    """A dataclass as JSON-ready data. Fields that are None are left out.

    Fields that were added by a later version (`additions.added`) are left out at their default, so that what was written,
    or digested, before they were there is written and digested in the same way. `sparse`: so are all others.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            camel(field.name): to_plain(item, sparse=sparse)
            for field in dataclasses.fields(value)
            if (item := getattr(value, field.name)) is not None
            and not ((sparse or SINCE in field.metadata) and at_default(value, field))
        }
    if isinstance(value, dict):
        return {str(key): to_plain(item, sparse=sparse) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item, sparse=sparse) for item in value]
    return value


def dumps(value: Any) -> str:
    """A dataclass as compact JSON with sorted keys, the same text for the same value."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"))


def loads(kind: type[T], text: str | bytes) -> T:
    """Read a dataclass back from JSON.

    Raises:
        CodecError: not JSON, a field that is missing or of another type.
    """
    try:
        return from_plain(kind, json.loads(text))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CodecError("", f"not JSON: {error}") from error


def from_plain(kind: type[T], data: Any, skipped: list[str] | None = None) -> T:
    """`loads` for data that is parsed already; the paths of fields that are not known are added to `skipped`."""
    value: T = _read(kind, data, kind.__name__, [] if skipped is None else skipped)
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@cache  # asked for each value of each report and order; the types are few
def _origin(kind: Any) -> Any:
    return typing.get_origin(kind)


@cache
def _arguments(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind)


def _read(kind: Any, data: Any, where: str, skipped: list[str]) -> Any:
    origin = _origin(kind)
    if kind is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        return _read_union(_arguments(kind), data, where, skipped)
    if origin is typing.Literal:
        if data not in _arguments(kind):
            raise CodecError(where, f"{data!r} is none of {', '.join(map(repr, _arguments(kind)))}")
        return data
    if origin in (list, tuple):
        if not isinstance(data, list):
            raise CodecError(where, f"a list was expected, found {type(data).__name__}")
        item = _arguments(kind)[0]
        return origin(_read(item, entry, f"{where}[{i}]", skipped) for i, entry in enumerate(data))
    if origin is dict or kind is dict:
        if not isinstance(data, dict):
            raise CodecError(where, f"an object was expected, found {type(data).__name__}")
        item = (_arguments(kind) or (str, Any))[1]
        return {key: _read(item, entry, f"{where}.{key}", skipped) for key, entry in data.items()}
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), data, where, skipped)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise CodecError(where, f"{kind.__name__} was expected, found {data!r}")
    return data


def _read_union(options: tuple[Any, ...], data: Any, where: str, skipped: list[str]) -> Any:
    if data is None and type(None) in options:
        return None
    problems: list[CodecError] = []
    for option in options:
        if option is type(None):
            continue
        own: list[str] = []
        try:
            value = _read(option, data, where, own)
        except CodecError as error:
            problems.append(error)
        else:
            skipped += own
            return value
    if len(problems) == 1:
        raise problems[0]
    raise CodecError(where, f"fits none of its forms ({'; '.join(map(str, problems))})")


def _read_dataclass(kind: type, data: Any, where: str, skipped: list[str]) -> Any:
    if not isinstance(data, dict):
        raise CodecError(where, f"an object was expected, found {type(data).__name__}")
    names = {camel(f.name): f.name for f in dataclasses.fields(kind)}
    hints, values = _hints(kind), {}
    for key, item in data.items():
        path = f"{where}.{key}"
        if key in names:
            values[names[key]] = _read(hints[names[key]], item, path, skipped)
        else:
            skipped.append(path.partition(".")[2])
    try:
        return kind(**values)
    except TypeError as error:
        raise CodecError(where, str(error)) from error
