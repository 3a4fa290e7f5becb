"""Recipes from camelCase data, strictly: an error names the field, what was found, and what it may be."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from nnunet_trainer.contract.codec import camel
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Range

from . import components

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Of:
    """Annotates a `Choice` with the kind of component that it chooses."""

    kind: str


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """Annotates a value with a function that raises BadConfiguration where it does not like it."""

    check: Callable[[Any], object]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A component by name, and the parameters that are not at their default. Written flat: `{name: SGD, momentum: 0.9}`."""

    name: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


def invalid(where: str, message: str) -> BadConfiguration:
    """A fault about one field of a recipe."""
    return BadConfiguration("InvalidRecipe", f"{where}: {message}")


def changed(base: T, changes: Any, where: str) -> T:
    """A copy of a dataclass with some fields changed; nested objects merge, lists replace.

    Raises:
        BadConfiguration: a field is unknown, of the wrong type or out of its range.
    """
    if not isinstance(changes, dict):
        raise invalid(where, f"an object was expected, found {changes!r}.")
    fields = {camel(f.name): f.name for f in dataclasses.fields(base)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(type(base), include_extras=True)
    values = {}
    for key, value in changes.items():
        if key not in fields:
            near = _near(key, fields)
            meant = f"did you mean {near}?" if near else f"known: {', '.join(sorted(fields))}."
            raise invalid(f"{where}.{key}", f"there is no such field; {meant}")
        name = fields[key]
        values[name] = read(hints[name], value, f"{where}.{key}", getattr(base, name))
    return dataclasses.replace(base, **values)  # type: ignore[type-var]


def plain(value: Any) -> Any:
    """A recipe as camelCase data that `changed` can read; components are flat."""
    if isinstance(value, Choice):
        return {"name": value.name} | {camel(key): plain(item) for key, item in value.parameters.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {camel(f.name): plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def read(hint: Any, value: Any, where: str, base: Any = None) -> Any:
    """One value by its type hint. `base` is what an object's fields default to."""
    limits: Any = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, limits = typing.get_args(hint)[:2]
    if isinstance(limits, Of):
        return _choice(limits.kind, value, where, base)
    if isinstance(limits, Checked):
        result = read(hint, value, where, base)
        try:
            limits.check(result)
        except BadConfiguration as fault:
            raise BadConfiguration(fault.reason, f"{where}: {fault.message}") from None
        return result
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _one_of(typing.get_args(hint), value, where, base)
    if origin is typing.Literal:
        options = typing.get_args(hint)
        # `1 == True`: the types must agree too.
        if not any(value == option and type(value) is type(option) for option in options):
            raise invalid(where, f"{value!r} is none of {', '.join(map(str, options))}.")
        return value
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise invalid(where, f"a list was expected, found {value!r}.")
        item = typing.get_args(hint)[0]
        return origin(read(item, entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise invalid(where, f"an object was expected, found {value!r}.")
        return {key: read(typing.get_args(hint)[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if dataclasses.is_dataclass(hint):
        return changed(base if isinstance(base, hint) else hint(), value, where)  # type: ignore[arg-type]
    return _scalar(hint, value, where, limits)


def _scalar(kind: Any, value: Any, where: str, limits: Range | None) -> Any:
    if kind is Any:
        return value
    name = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}.get(kind, str(kind))
    bounds = f" {limits}" if limits is not None else ""
    right = (
        isinstance(value, bool)
        if kind is bool
        else not isinstance(value, bool) and isinstance(value, (int, float) if kind is float else kind)
    )
    if not right:
        raise invalid(where, f"{name}{bounds} was expected, found {value!r}.")
    if limits is not None and value not in limits:
        raise invalid(where, f"{value!r} is out of range; {name}{bounds} was expected.")
    return float(value) if kind is float else value


def _one_of(options: tuple[Any, ...], value: Any, where: str, base: Any) -> Any:
    if value is None and type(None) in options:
        return None
    problems = []
    for option in options:
        if option is not type(None):
            try:
                return read(option, value, where, base)
            except BadConfiguration as problem:
                problems.append(problem)
    raise problems[0] if len(problems) == 1 else invalid(where, " or ".join(p.message.removeprefix(f"{where}: ") for p in problems))


def _choice(kind: str, value: Any, where: str, base: Choice | None) -> Choice:
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict):
        raise invalid(where, f"a name or an object with a name was expected, found {value!r}.")
    name = value.get("name", base.name if base is not None else None)
    if not isinstance(name, str):
        raise invalid(where, f"the name of a {kind} was expected, found {name!r}.")
    try:
        component = components.find(kind, name)
    except BadConfiguration as unknown:
        raise BadConfiguration(unknown.reason, f"{where}: {unknown.message}") from None
    known = {camel(p.name): p for p in component.parameters.values()}
    # Another component begins at its own defaults: one optimizer's momentum says nothing about another's.
    parameters = dict(base.parameters) if base is not None and base.name == name else {}
    for key, item in value.items():
        if key == "name":
            continue
        if key not in known:
            near = _near(key, known)
            meant = f" did you mean {near}?" if near else f" it has {', '.join(sorted(known)) or 'none'}."
            raise invalid(f"{where}.{key}", f"{name} has no such parameter;{meant}")
        parameter = known[key]
        parameters[parameter.name] = read(parameter.kind, item, f"{where}.{key}")
    missing = [
        camel(p.name) for p in component.parameters.values() if p.default is inspect.Parameter.empty and p.name not in parameters
    ]
    if missing:
        raise invalid(where, f"{name} needs {', '.join(missing)}.")
    return Choice(name=name, parameters=parameters)


def _near(name: str, known: Iterable[str]) -> str:
    return " or ".join(difflib.get_close_matches(name, list(known), n=3, cutoff=0.5))
