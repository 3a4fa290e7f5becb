"""How components are found by name, and how plug-ins add their own.

A component is a function or class with a name in a `Registry`. Its keyword-only arguments are the parameters that a recipe may set;
their types, defaults and ranges (`Annotated[float, Range(0, 1)]`) are read from the signature, so that each is written once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from .contract.catalogue import ENTRY_POINTS
from .contract.catalogue.shapes import Range, unknown_component
from .contract.faults import BadConfiguration

__all__ = ["ENTRY_POINTS", "Component", "Parameter", "Range", "Registry", "load_plugins", "plugin_files"]

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


def load_plugins(folder: Path | None, names: Iterable[str] | None = None) -> list[str]:
    """Import installed plug-ins and the Python files of mounted ones.

    Args:
        folder: has one sub-folder a plug-in, each with Python modules (`contract.pod.plugins()`).
        names: the sub-folders to import, all if None.

    Returns:
        The names of the imported modules.

    Raises:
        BadConfiguration: a plug-in is missing or fails to import; the message says which file and why.
    """
    loaded = []
    for entry in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda e: e.name):
        _guarded(entry.load, entry.value)
        loaded.append(entry.value)
    for path in plugin_files(folder, names):
        # A name of its own for each file: two ConfigMaps may both hold a losses.py.
        module_name = f"nnunet_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
        if module_name not in sys.modules:
            _guarded(lambda path=path, name=module_name: _import_file(path, name), str(path))
        loaded.append(str(path))
    return loaded


def plugin_files(folder: Path | None, names: Iterable[str] | None) -> list[Path]:
    """The Python files of plug-in folders, sorted; `names` None: of all there are.

    Raises:
        BadConfiguration: a named folder is not there.
    """
    if names is None:
        folders = sorted(p for p in folder.iterdir() if p.is_dir()) if folder is not None and folder.is_dir() else []
    else:
        folders = [Path(folder or ".") / name for name in names]
    for sub in folders:
        if not sub.is_dir():
            raise BadConfiguration("MissingPlugin", f"The plug-in {sub.name!r} was expected in {sub}, and is not there.")
    return [path for sub in folders for path in sorted(sub.glob("*.py")) if not path.name.startswith(".")]


def _import_file(path: Path, name: str) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _guarded(load: Callable[[], Any], what: str) -> None:
    try:
        load()
    except BadConfiguration:
        raise
    except Exception as error:
        raise BadConfiguration(
            "PluginFailed",
            f"The plug-in {what} cannot be imported: {type(error).__name__}: {error}",
            hint="Import it by hand and mend it.",
        ) from error
