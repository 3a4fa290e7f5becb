"""The shapes (`contract.catalogue.shapes`) of dataclasses and of components' parameters, and both as camelCase data.

What a value may be stands in its type hint (`Annotated[float, Range(0, 1)]`) and becomes a shape; the contract's checker checks it,
here and, by the catalogue, in the operator.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

from nnunet_trainer.contract.catalogue.shapes import Checker, Range, Shape
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.json_text.codec import camel

from .registry import Component

SCALARS = {bool: "boolean", int: "integer", float: "number", str: "text", Any: "any"}

Find = Callable[[str, str], Component[Any]]
"""A component by kind and name; it raises BadConfiguration where there is none."""


@dataclasses.dataclass(frozen=True, slots=True)
class Of:
    """Annotates a `Choice` with the kind of component that it chooses."""

    kind: str


@dataclasses.dataclass(frozen=True, slots=True)
class NameOf:
    """Annotates a text that is the name of a component of this kind."""

    kind: str


@dataclasses.dataclass(frozen=True, slots=True)
class FromFingerprint:
    """Annotates a preprocessing step's parameter that planning takes from this field of the fingerprint; its default is None."""

    field: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A component by name, and the parameters that are not at their default. Written flat: `{name: SGD, momentum: 0.9}`."""

    name: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


def plain(value: Any) -> Any:
    """A recipe as camelCase data that `build` can read; components are flat."""
    if isinstance(value, Choice):
        return {"name": value.name} | {camel(key): plain(item) for key, item in value.parameters.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {camel(f.name): plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def build(hint: Any, value: Any, find: Find) -> Any:
    """The value of a type hint from checked data: dataclasses, tuples and choices in the place of objects and lists.

    Args:
        hint: a type hint.
        value: checked against its shape.
        find: the components that choices name.
    """
    hint, note = _bare(hint)
    if isinstance(note, Of):
        return _choice(note.kind, value, find)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else build(_fitting(hint, value, find), value, find)
    if origin in (tuple, list):
        return origin(build(typing.get_args(hint)[0], item, find) for item in value)
    if origin is dict:
        return {key: build(typing.get_args(hint)[1], item, find) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        hints, names = _hints(hint), {camel(f.name): f.name for f in dataclasses.fields(hint)}
        return hint(**{names[key]: build(hints[names[key]], item, find) for key, item in value.items()})  # type: ignore[operator]
    return value


def shape_of(hint: Any) -> Shape:
    """The shape (`contract.catalogue.shapes`) of a type hint."""
    hint, note = _bare(hint)
    if isinstance(note, Of):
        return {"type": "component", "kind": note.kind}
    if isinstance(note, NameOf):
        return {"type": "name", "kind": note.kind}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        options = [shape_of(option) for option in arguments if option is not type(None)]
        one = options[0] if len(options) == 1 else {"type": "anyOf", "options": options}
        return {**one, "nullable": True} if type(None) in arguments else one
    if origin is typing.Literal:
        return {"type": "enum", "options": list(arguments)}
    if origin in (tuple, list):
        if isinstance(note, Range):  # an interval
            pair = {"atLeast": 2, "atMost": 2, "ascending": True}
            return {"type": "list", "items": {**shape_of(arguments[0]), **_bounds(note)}, **pair}
        return {"type": "list", "items": shape_of(arguments[0])}
    if origin is dict:
        return {"type": "map", "values": shape_of(arguments[1])}
    if dataclasses.is_dataclass(hint):
        return {"type": "object", "fields": _fields(hint)}  # type: ignore[arg-type]
    shape: Shape = {"type": SCALARS.get(hint, "any")}
    return {**shape, **_bounds(note)} if isinstance(note, Range) else shape


def parameters(component: Component[Any]) -> dict[str, Shape]:
    """The shapes of a component's parameters, by camelCase name."""
    shapes = {}
    for parameter in component.parameters.values():
        default = {} if parameter.default is inspect.Parameter.empty else {"default": plain(parameter.default)}
        shapes[camel(parameter.name)] = {**shape_of(parameter.kind), **default}
    return shapes


def check_declared(kind: str, component: Component[Any]) -> None:
    """That the parameters of a component are declared so that they can be shown and checked.

    Raises:
        BadConfiguration: a type that is not known where it stands, or a default that the parameter itself may not have.
    """
    where = f"The {kind} {component.name!r} ({component.place})"
    try:
        shapes = parameters(component)
    except Exception as error:
        message = f"{where} has a parameter whose type cannot be read: {type(error).__name__}: {error}."
        raise BadConfiguration("PluginFailed", message, hint="Import what its annotations name, or leave them out.") from error

    def unknown(kind: str, name: str) -> dict[str, Shape]:
        raise BadConfiguration("UnknownParameter", name)  # it may be registered later: looked for when it is used

    checker = Checker(find=unknown, reason="PluginFailed", names_pass=True)
    for name, shape in shapes.items():
        if shape.get("default") is not None:
            checker.check(shape, shape["default"], f"{where}: the default of {name}")


@cache
def _fields(kind: type) -> dict[str, Shape]:
    hints, fields = _hints(kind), {}
    for field in dataclasses.fields(kind):
        shape = shape_of(hints[field.name])
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        # An object's defaults stand in its own fields.
        own_fields = shape["type"] == "object" and not shape.get("nullable")
        fields[camel(field.name)] = shape if own_fields else {**shape, "default": plain(default)}
    return fields


def _bounds(limits: Range) -> Shape:
    values = {
        "low": limits.low,
        "high": limits.high,
        "lowOpen": limits.low_open or None,
        "highOpen": limits.high_open or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _choice(kind: str, value: dict[str, Any], find: Find) -> Choice:
    known = {camel(p.name): p for p in find(kind, value["name"]).parameters.values()}
    given = {key: item for key, item in value.items() if key != "name"}
    return Choice(
        name=value["name"], parameters={known[key].name: build(known[key].kind, item, find) for key, item in given.items()}
    )


def _fitting(hint: Any, value: Any, find: Find) -> Any:
    """The option of a union that a checked value is of."""

    def known(kind: str, name: str) -> dict[str, Shape]:
        return parameters(find(kind, name))

    options = [option for option in typing.get_args(hint) if option is not type(None)]
    for option in options[:-1]:
        try:
            Checker(find=known).check(shape_of(option), value, "")
        except BadConfiguration:
            continue
        return option
    return options[-1]


def _bare(hint: Any) -> tuple[Any, Any]:
    """A hint without its annotation, and the annotation."""
    return typing.get_args(hint)[:2] if typing.get_origin(hint) is typing.Annotated else (hint, None)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)
