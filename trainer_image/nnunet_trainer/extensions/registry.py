"""How components are found by name.

A component is a function or class with a name in a `Registry`. Its keyword-only arguments are the parameters that a recipe may set;
their types, defaults and ranges (`Annotated[float, Range(0, 1)]`) are read from the signature, so that each is written once.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from nnunet_trainer.contract.catalogue.shapes import unknown_component
from nnunet_trainer.contract.faults import BadConfiguration

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """Code that is not this package's, and registers components.

    Attributes:
        name: of its ConfigMap or folder; of an installed package: the distribution's.
        version: of an installed package the distribution's, else the `__version__` of one of its files; "" where there is none.
        digest: sha256 over the names and contents of its Python files.
        installed: whether it is an installed package.
    """

    name: str
    version: str
    digest: str
    installed: bool

    def __str__(self) -> str:
        version = f"version {self.version}, " if self.version else ""
        return f"{self.name} ({version}digest {self.digest[:12]})"


PACKAGE = __name__.partition(".")[0] + "."
"""How the names of this package's own modules begin."""

IMPORTING: ContextVar[Plugin | None] = ContextVar("plug-in being imported", default=None)
"""Whose components are being registered; None: this package's own."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a component: its annotated type (with `Range`, if any) and default."""

    name: str
    kind: Any
    default: Any


@dataclass(frozen=True)
class Component(Generic[T]):
    """A named function or class, where it was defined, and by which plug-in (None: by this package)."""

    name: str
    make: T
    place: str
    plugin: Plugin | None = None

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The keyword-only arguments that a recipe may set."""
        target: Any = self.make.__init__ if inspect.isclass(self.make) else self.make
        arguments = [a for a in inspect.signature(self.make).parameters.values() if a.kind is a.KEYWORD_ONLY]
        # Theirs alone: those of the others may be known to a type checker only.
        given = {a.name: a.annotation for a in arguments if a.annotation is not a.empty}
        hints = typing.get_type_hints(
            type("Annotated", (), {"__annotations__": given}), getattr(target, "__globals__", None), include_extras=True
        )
        return {a.name: Parameter(a.name, hints.get(a.name, Any), a.default) for a in arguments}

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

    def register(self, name: str, check: Callable[[T], None] | None = None) -> Callable[[T], T]:
        """A decorator that gives a component its name.

        Args:
            name: of the component.
            check: raises where it cannot be one.

        Raises:
            BadConfiguration: another component has this name; both places are named.
        """

        def add(make: T) -> T:
            if check is not None:
                check(make)
            place = _place(make)
            other = self._components.get(name)
            if other is not None and other.place != place:
                raise BadConfiguration(
                    "DuplicateName",
                    f"Two components bear the {self.kind} name {name!r}: {other.place} and {place}.",
                    hint="Give one of them another name.",
                )
            # Built-in components are imported when somebody looks, which may be in the midst of a plug-in.
            built_in = sys._getframe(1).f_globals.get("__name__", "").startswith(PACKAGE)
            plugin = None if built_in else IMPORTING.get()
            self._components[name] = self._checked(Component(name, make, place, plugin))
            return make

        return add

    def _checked(self, component: Component[T]) -> Component[T]:
        """What a kind asks of its components; raises BadConfiguration."""
        return component

    def of(self, plugin: Plugin) -> list[Component[T]]:
        """The components that a plug-in has registered."""
        return [component for component in self._components.values() if component.plugin == plugin]

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
