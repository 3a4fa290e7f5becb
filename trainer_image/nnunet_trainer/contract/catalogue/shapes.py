"""What a value may be, as plain data, and the one checker of it: the trainer reads recipes by it, the operator a manifest's.

A shape is a JSON object with a `type`:

- `integer`, `number`: with `low`, `high`, `lowOpen`, `highOpen` where there are bounds;
- `boolean`, `text`, `any`;
- `enum`: one of its `options`;  `name`: a component of its `kind`, by name alone;
- `list` of its `items` (`atLeast`, `atMost` so many; `ascending`: none below the one before), `map` of texts to its `values`;
- `object`: of its `fields`, each a shape, with the field's `default`;
- `component`: a component of its `kind` and parameters of it, written flat: `{name: SGD, momentum: 0.9}`, or the name alone;
- `anyOf` its `options`.

`nullable` says that null is fine too. A shape with a `default` may be left out where it is a parameter.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from ..faults import BadConfiguration, unknown_name

Shape = dict[str, Any]
Find = Callable[[str, str], Mapping[str, Shape]]
"""The parameters of a component by (kind, name). Raises BadConfiguration `Unknown…` where there is none."""

SCALARS: Final[Mapping[str, tuple[str, tuple[type, ...]]]] = {
    "boolean": ("true or false", (bool,)),
    "integer": ("an integer", (int,)),
    "number": ("a number", (int, float)),
    "text": ("a text", (str,)),
}


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number; None means no bound. `low_open` and `high_open` exclude the bound itself."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = self.low is None or (value > self.low if self.low_open else value >= self.low)
        below = self.high is None or (value < self.high if self.high_open else value <= self.high)
        return above and below

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return ""
        if self.high is None:
            return f"greater than {self.low:g}" if self.low_open else f"at least {self.low:g}"
        if self.low is None:
            return f"less than {self.high:g}" if self.high_open else f"at most {self.high:g}"
        ends = f"{self.low:g} and {self.high:g}"
        opened = [f"{end:g}" for end, is_open in ((self.low, self.low_open), (self.high, self.high_open)) if is_open]
        return f"between {ends}" + (f", {' and '.join(opened)} excluded" if opened else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checker:
    """Checks values, and merges them with what they change.

    Args:
        find: what is known of components.
        reason: of the faults about values and fields.
        names_pass: a component that `find` does not know is taken as it is (it may be a plug-in's).
        fields_pass: so is a field or parameter that a shape does not have (it may be another version's).
    """

    find: Find
    reason: str = "InvalidRecipe"
    names_pass: bool = False
    fields_pass: bool = False

    def check(self, shape: Shape, value: Any, where: str, base: Any = None) -> Any:
        """A value of a shape, with what it leaves out taken from `base`: objects merge, lists replace.

        Raises:
            BadConfiguration: it does not fit; the message names the field, what was found and what it may be.
        """
        if value is None and shape.get("nullable"):
            return None
        match shape["type"]:
            case "any":
                return value
            case "enum":
                options = shape["options"]
                # `1 == True`: the types must agree too.
                if not any(value == option and type(value) is type(option) for option in options):
                    raise self._wrong(where, f"{value!r} is none of {', '.join(map(str, options))}.")
                return value
            case "list":
                return self._list(shape, value, where)
            case "map":
                return {key: self.check(shape["values"], item, f"{where}.{key}") for key, item in self._object(value, where)}
            case "object":
                return self._merged(shape["fields"], value, where, base if isinstance(base, dict) else defaults(shape))
            case "anyOf":
                return self._any_of(shape["options"], value, where, base)
            case "name":
                return self._named(shape["kind"], value, where)
            case "component":
                return self._component(shape["kind"], value, where, base)
            case _:
                return self._scalar(shape, value, where)

    def _wrong(self, where: str, message: str) -> BadConfiguration:
        return BadConfiguration(self.reason, f"{where}: {message}")

    def _object(self, value: Any, where: str) -> Iterable[tuple[str, Any]]:
        if not isinstance(value, dict):
            raise self._wrong(where, f"an object was expected, found {value!r}.")
        return value.items()

    def _list(self, shape: Shape, value: Any, where: str) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise self._wrong(where, f"a list was expected, found {value!r}.")
        least, most = shape.get("atLeast", 0), shape.get("atMost")
        if len(value) < least or (most is not None and len(value) > most):
            count = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            raise self._wrong(where, f"a list of {count} was expected, found {value!r}.")
        items = [self.check(shape["items"], item, f"{where}[{i}]") for i, item in enumerate(value)]
        if shape.get("ascending") and any(later < earlier for earlier, later in itertools.pairwise(items)):
            raise self._wrong(where, f"ascending numbers were expected, found {value!r}.")
        return items

    def _scalar(self, shape: Shape, value: Any, where: str) -> Any:
        name, kinds = SCALARS[shape["type"]]
        bounds = bounds_of(shape)
        expected = f"{name} {bounds}".rstrip()
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self._wrong(where, f"{expected} was expected, found {value!r}.")
        if isinstance(value, (int, float)) and value not in bounds:
            raise self._wrong(where, f"{value!r} is out of range; {expected} was expected.")
        return float(cast(float, value)) if shape["type"] == "number" else value

    def _merged(self, fields: Mapping[str, Shape], changes: Any, where: str, base: dict[str, Any]) -> dict[str, Any]:
        merged = dict(base)
        for key, value in self._object(changes, where):
            if key not in fields:
                if self.fields_pass:
                    continue
                close = near(key, fields)
                meant = f"did you mean {close}?" if close else f"known: {', '.join(sorted(fields))}."
                raise self._wrong(f"{where}.{key}", f"there is no such field; {meant}")
            merged[key] = self.check(fields[key], value, f"{where}.{key}", merged.get(key))
        return merged

    def _any_of(self, options: Iterable[Shape], value: Any, where: str, base: Any) -> Any:
        problems = []
        for option in options:
            try:
                return self.check(option, value, where, base)
            except BadConfiguration as problem:
                problems.append(problem)
        raise self._wrong(where, " or ".join(problem.message.removeprefix(f"{where}: ") for problem in problems))

    def _parameters(self, kind: str, name: str, where: str) -> Mapping[str, Shape] | None:
        """None: not known, and that is fine."""
        try:
            return self.find(kind, name)
        except BadConfiguration as unknown:
            if self.names_pass:
                return None
            raise BadConfiguration(unknown.reason, f"{where}: {unknown.message}", hint=unknown.hint) from None

    def _named(self, kind: str, value: Any, where: str) -> Any:
        if not isinstance(value, str):
            raise self._wrong(where, f"the name of {_a(kind)} was expected, found {value!r}.")
        self._parameters(kind, value, where)
        return value

    def _component(self, kind: str, value: Any, where: str, base: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict):
            raise self._wrong(where, f"a name or an object with a name was expected, found {value!r}.")
        before = base if isinstance(base, dict) else {}
        name = value.get("name", before.get("name"))
        if name is None and self.names_pass:
            return value  # a parameter of what an unknown trainer has chosen
        if not isinstance(name, str):
            raise self._wrong(where, f"the name of {_a(kind)} was expected, found {name!r}.")
        known = self._parameters(kind, name, where)
        if known is None:
            return value
        # Another component begins at its own defaults: one optimizer's momentum says nothing about another's.
        merged = dict(before) if before.get("name") == name else {"name": name}
        for key, item in value.items():
            if key == "name":
                continue
            if key not in known:
                if self.fields_pass:
                    continue
                close = near(key, known)
                meant = f" did you mean {close}?" if close else f" it has {', '.join(sorted(known)) or 'none'}."
                raise self._wrong(f"{where}.{key}", f"{name} has no such parameter;{meant}")
            merged[key] = self.check(known[key], item, f"{where}.{key}", merged.get(key, known[key].get("default")))
        missing = [key for key, shape in known.items() if "default" not in shape and key not in merged]
        if missing:
            raise self._wrong(where, f"{name} needs {', '.join(missing)}.")
        return merged


def bounds_of(shape: Shape) -> Range:
    """The bounds of a number's shape."""
    return Range(shape.get("low"), shape.get("high"), shape.get("lowOpen", False), shape.get("highOpen", False))


def describe(shape: Shape) -> str:
    """What a value may be, in words."""
    match shape["type"]:
        case "enum":
            text = f"one of {', '.join(map(str, shape['options']))}"
        case "list":
            text = f"a list, each {describe(shape['items'])}"
        case "map":
            text = f"names and for each {describe(shape['values'])}"
        case "object":
            text = f"an object of {', '.join(shape['fields'])}"
        case "anyOf":
            text = " or ".join(map(describe, shape["options"]))
        case "any":
            text = "anything"
        case "name":
            text = f"the name of {_a(shape['kind'])}"
        case "component":
            text = f"{_a(shape['kind'])}, by its name or as an object of name and parameters"
        case scalar:
            text = f"{SCALARS[scalar][0]} {bounds_of(shape)}".rstrip()
    return f"{text}, or null" if shape.get("nullable") else text


def defaults(shape: Shape) -> dict[str, Any]:
    """What an object is when nothing is said."""
    return {
        name: field["default"] if "default" in field else defaults(field)
        for name, field in shape["fields"].items()
        if "default" in field or field["type"] == "object"
    }


def near(name: str, known: Iterable[str]) -> str:
    """The names that may have been meant, for a sentence."""
    return " or ".join(difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.5))


OF_A_PLUGIN = "Where a plug-in brings it, name that in spec.plugins, or with --plugins DIR."
"""What to do about a name that is not known: the plug-in may only have been forgotten."""


def unknown_component(title: str, name: str, known: Iterable[str]) -> BadConfiguration:
    """The fault for a component that nothing bears the name of.

    Args:
        title: what it would be: loss, augmentation set …
        name: what was asked for.
        known: the names that there are.
    """
    return BadConfiguration(f"Unknown{title.title().replace(' ', '')}", unknown_name(title, name, known), hint=OF_A_PLUGIN)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
