"""Components as plans hold them: `{"name": …}` and all parameters, camelCase, so that they stay what they are; or a name alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from nnunet_trainer.contract.catalogue.shapes import Checker
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.json_text.codec import camel
from nnunet_trainer.extensions import Choice, Component, kinds, schema

Entry = dict[str, Any]


def name_of(entry: Any) -> str:
    """The component's name, whichever way it is written."""
    if isinstance(entry, Choice):
        return entry.name
    return str(entry.get("name") if isinstance(entry, Mapping) else entry)


def given(entry: Any) -> Entry:
    """`{"name": …}` and the parameters that are said, of a choice, an object or a name."""
    plain = schema.plain(entry)
    return {"name": plain} if isinstance(plain, str) else dict(plain)


def check(kind: str, entry: Any, where: str) -> Entry:
    """A component's name and parameters, and what it says itself of them (its attribute `fault`).

    Returns:
        The name and the parameters that are said, numbers as their type wants them.

    Raises:
        BadConfiguration: no such component, a parameter that it has not, or a value out of its range.
    """
    checker = Checker(find=lambda kind, name: schema.parameters(kinds.find(kind, name)), reason="InvalidParameter")
    values = given(entry)
    checked: Entry = checker.check({"type": "component", "kind": kind}, values, where)
    own: Callable[..., str | None] | None = getattr(kinds.find(kind, values["name"]).make, "fault", None)
    if own is not None and (fault := own(**{key: value for key, value in values.items() if key != "name"})):
        raise BadConfiguration("InvalidParameter", f"{where}: {fault}.")
    return checked


def completed(kind: str, entry: Any) -> Entry:
    """All parameters of a component, those that are not said at their default.

    Raises:
        BadConfiguration: as by `check`.
    """
    said = check(kind, entry, name_of(entry))
    known = kinds.find(kind, said["name"]).parameters.values()
    values = {camel(each.name): schema.plain(each.default) for each in known if each.default is not inspect.Parameter.empty}
    return {"name": said["name"], **values, **said}


def resolved(kind: str, entry: Any) -> tuple[Component[Any], dict[str, Any]]:
    """The component, and the keyword arguments to call it with; the entry is checked already."""
    choice = schema.build(Annotated[Choice, schema.Of(kind)], given(entry), kinds.find)
    return kinds.find(kind, choice.name), choice.parameters


def shown(kind: str, entry: Any, taken: Mapping[str, str] | None = None) -> str:
    """In words: the name, and the parameters that are not at their default.

    Args:
        kind: of the component.
        entry: as plans hold it.
        taken: parameters that come from the fingerprint, and the field of it.
    """
    values, taken = given(entry), taken or {}
    shapes = schema.parameters(kinds.find(kind, values["name"]))
    changed = {key: value for key, value in values.items() if key in shapes and value != shapes[key].get("default")}
    said = [f"{key} {f'of the fingerprint, {taken[key]}' if key in taken else value}" for key, value in changed.items()]
    return f"{values['name']} ({', '.join(said)})" if said else str(values["name"])
