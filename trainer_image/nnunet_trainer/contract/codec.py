"""Dataclasses to and from JSON: camelCase outside, snake_case inside, nothing unknown accepted."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


class CodecError(ValueError):
    """A JSON document that is not what the dataclass says; the message names the field."""


def camel(name: str) -> str:
    """`every_epochs` → `everyEpochs`."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def to_plain(value: Any) -> Any:
    """A dataclass as JSON-ready data. Fields that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {camel(name): to_plain(item) for name, item in pairs if item is not None}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def dumps(value: Any) -> str:
    """A dataclass as compact JSON with sorted keys, the same text for the same value."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"))


def loads(kind: type[T], text: str | bytes) -> T:
    """Read a dataclass back from JSON.

    Raises:
        CodecError: not JSON, a field that is unknown, missing or of another type.
    """
    try:
        return from_plain(kind, json.loads(text))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CodecError(f"not JSON: {error}") from error


def from_plain(kind: type[T], data: Any, where: str = "") -> T:
    """`loads` for data that is parsed already."""
    value: T = _read(kind, data, where or kind.__name__)
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        return _read_union(typing.get_args(kind), data, where)
    if origin is typing.Literal:
        if data not in typing.get_args(kind):
            raise CodecError(f"{where}: {data!r} is none of {', '.join(map(repr, typing.get_args(kind)))}")
        return data
    if origin in (list, tuple):
        if not isinstance(data, list):
            raise CodecError(f"{where}: a list was expected, found {type(data).__name__}")
        item = typing.get_args(kind)[0]
        return origin(_read(item, entry, f"{where}[{i}]") for i, entry in enumerate(data))
    if origin is dict or kind is dict:
        if not isinstance(data, dict):
            raise CodecError(f"{where}: an object was expected, found {type(data).__name__}")
        item = (typing.get_args(kind) or (str, Any))[1]
        return {key: _read(item, entry, f"{where}.{key}") for key, entry in data.items()}
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), data, where)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise CodecError(f"{where}: {kind.__name__} was expected, found {data!r}")
    return data


def _read_union(options: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in options:
        return None
    problems: list[str] = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _read(option, data, where)
        except CodecError as error:
            problems.append(str(error))
    raise CodecError(problems[0] if len(problems) == 1 else f"{where}: fits none of its forms ({'; '.join(problems)})")


def _read_dataclass(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise CodecError(f"{where}: an object was expected, found {type(data).__name__}")
    names = {camel(f.name): f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(data) - set(names)):
        raise CodecError(f"{where}: unknown field {', '.join(unknown)}")
    hints = _hints(kind)
    values = {names[key].name: _read(hints[names[key].name], item, f"{where}.{key}") for key, item in data.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise CodecError(f"{where}: {error}") from error
