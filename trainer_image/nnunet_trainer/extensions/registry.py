"""How components are found by name.

A component is a function or class with a name in a `Registry`. Its keyword-only arguments are the parameters that a recipe may set;
their types, defaults and ranges (`Annotated[float, Range(0, 1)]`) are read from the signature, so that each is written once.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from nnunet_trainer.contract.catalogue.shapes import unknown_component
from nnunet_trainer.contract.faults import BadConfiguration

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a component: its annotated type (with `Range`, if any) and default."""

    name: str
    kind: Any
    default: Any


@dataclass(frozen=True)
class Component(Generic[T]):
    """A named function or class, and where it was defined."""

    name: str
    make: T
    place: str

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The keyword-only arguments that a recipe may set."""
        target = self.make.__init__ if inspect.isclass(self.make) else self.make
        hints = typing.get_type_hints(target, include_extras=True)
        arguments = inspect.signature(self.make).parameters.values()
        return {a.name: Parameter(a.name, hints.get(a.name, Any), a.default) for a in arguments if a.kind is a.KEYWORD_ONLY}

    @property
    def help(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.make) or "").partition("\n")[0]


class Registry(Generic[T]):
    """Components of one kind by name.

    Args:
        kind: what the components are, for messages: "loss", "optimizer" …
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._components: dict[str, Component[T]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that gives a component its name.

        Raises:
            BadConfiguration: another component has this name; both places are named.
        """

        def add(make: T) -> T:
            place = _place(make)
            other = self._components.get(name)
            if other is not None and other.place != place:
                raise BadConfiguration(
                    "DuplicateName",
                    f"Two components bear the {self.kind} name {name!r}: {other.place} and {place}.",
                    hint="Give one of them another name.",
                )
            self._components[name] = Component(name, make, place)
            return make

        return add

    def __getitem__(self, name: str) -> Component[T]:
        if name not in self._components:
            raise unknown_component(self.kind, name, self._components)
        return self._components[name]

    def __contains__(self, name: object) -> bool:
        return name in self._components

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._components))


def _place(make: Callable[..., Any]) -> str:
    try:
        return f"{inspect.getsourcefile(make)}:{inspect.getsourcelines(make)[1]}"
    except (OSError, TypeError):
        return f"{make.__module__}.{make.__qualname__}"
