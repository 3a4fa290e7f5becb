"""Plug-ins: modules of installed packages, and Python files of mounted ConfigMaps, that register components of their own."""

from __future__ import annotations

import ast
import hashlib
import importlib
import linecache
import logging
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from nnunet_trainer.contract import plugins as contract
from nnunet_trainer.contract.catalogue import ENTRY_POINTS
from nnunet_trainer.contract.faults import BadConfiguration, Temporary

from . import kinds, schema
from .registry import IMPORTING, Plugin
from .time_limit import TookTooLong, within

log = logging.getLogger(__name__)

PACKAGE_PREFIX = "nnunet_plugin_"
"""How the names of the packages begin that mounted plug-ins are imported as."""
IMPORT_SECONDS = 600.0
"""A plug-in whose import takes longer is taken to loop for ever: that of torch takes seconds, minutes from the slowest of disks."""
IN_THE_IMAGE = "What a plug-in imports beside its own files must be installed where it runs: in the trainer's image."

_LOADED: dict[str, Plugin] = {}
"""By the place that each was imported from, in this process."""


def load_plugins(folder: Path | None, names: Iterable[str] | None = None) -> list[Plugin]:
    """Import installed plug-ins and the Python files of mounted ones; what is imported already is not imported again.

    Args:
        folder: has one sub-folder a plug-in, each with Python modules (`contract.pod.plugins()`), or modules itself.
        names: the sub-folders to import, all if None.

    Returns:
        The plug-ins, installed ones first.

    Raises:
        BadConfiguration: a plug-in is missing, fails to import or registers nothing; the message says which file and why.
        Temporary: its folder is empty: a ConfigMap that is not there yet.
    """
    loaded = [_installed(name, entries) for name, entries in sorted(_entry_points().items())]
    return loaded + [_mounted(sub) for sub in plugin_folders(folder, names)]


def loaded_places() -> list[str]:
    """Where all plug-ins of this process were imported from, for `load_again` in another."""
    return list(_LOADED)


def load_again(places: Iterable[str]) -> None:
    """Import the same plug-ins in a worker process."""
    wanted = [place for place in places if place not in _LOADED]
    if not wanted:
        return
    load_plugins(None)
    for place in wanted:
        if Path(place).is_dir():
            _mounted(Path(place))


def loaded_from(module: str, file: str) -> Plugin | None:
    """The plug-in that a module of this name, in this file, is of; None where it is of none."""
    if module.startswith(PACKAGE_PREFIX):
        return _LOADED.get(str(Path(file).parent))
    top = module.partition(".")[0]
    for name, entries in _entry_points().items():
        if any(entry.value.partition(":")[0].partition(".")[0] == top for entry in entries):
            return _LOADED.get(f"package {name}")
    return None


def plugin_folders(folder: Path | None, names: Iterable[str] | None) -> list[Path]:
    """The folders of plug-ins, one each, sorted where `names` is None: then of all there are.

    Raises:
        BadConfiguration: a named folder is not there.
    """
    if names is None:
        if folder is None or not folder.is_dir():
            return []
        return [folder] if python_files(folder) else sorted(p for p in folder.iterdir() if p.is_dir() and python_files(p))
    folders = [Path(folder or ".") / name for name in names]
    for sub in folders:
        if not sub.is_dir():
            raise BadConfiguration("MissingPlugin", f"The plug-in {sub.name!r} was expected in {sub}, and is not there.")
    return folders


def plugin_files(folder: Path | None, names: Iterable[str] | None) -> list[Path]:
    """The Python files of plug-in folders (`plugin_folders`)."""
    return [path for sub in plugin_folders(folder, names) for path in python_files(sub)]


def python_files(folder: Path) -> list[Path]:
    """The Python files of a folder, sorted; a mounted ConfigMap has hidden entries beside them."""
    return [path for path in sorted(folder.iterdir()) if contract.is_module(path.name) and path.is_file()]


def _entry_points() -> dict[str, list[metadata.EntryPoint]]:
    """By distribution."""
    found: dict[str, list[metadata.EntryPoint]] = {}
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        found.setdefault(entry.dist.name if entry.dist else entry.value, []).append(entry)
    return found


def _installed(name: str, entries: list[metadata.EntryPoint]) -> Plugin:
    place = f"package {name}"
    if place in _LOADED:
        return _LOADED[place]
    version = entries[0].dist.version if entries[0].dist else ""
    plugin = Plugin(name=name, version=version, digest=_package_digest(entries), installed=True)
    for entry in sorted(entries, key=lambda e: e.name):
        _import(plugin, entry.load, entry.value)
    if not _registered(plugin):
        log.warning("The installed package %s has an entry point %s, and registers no component.", name, ENTRY_POINTS)
    _LOADED[place] = plugin
    return plugin


def _mounted(folder: Path) -> Plugin:
    files = python_files(folder)
    if not files and not any(folder.iterdir()):
        raise Temporary(
            "MissingPlugin",
            f"The plug-in {folder.name} has no file in {folder}: there is no ConfigMap {folder.name}, or it is empty.",
            hint="Create it in the object's namespace; what is tried again then finds it.",
        )
    if not files:
        raise BadConfiguration(
            "EmptyPlugin",
            f"The plug-in {folder.name} has no Python file in {folder}.",
            hint="Each key of its ConfigMap is a file, and its name ends in .py.",
        )
    digest = digest_of(folder)
    plugin = Plugin(name=folder.name, version=_version(files), digest=digest, installed=False)
    if _LOADED.get(str(folder)) == plugin:
        return plugin
    # A package of its own for each: two ConfigMaps may both hold a losses.py. Its files may import each other (`from . import x`).
    package = f"{PACKAGE_PREFIX}{hashlib.sha256(f'{folder} {digest}'.encode()).hexdigest()[:8]}"
    module = types.ModuleType(package)
    module.__path__ = [str(folder)]
    module.__spec__ = ModuleSpec(package, None, is_package=True)
    sys.modules[package] = module
    for path in files:
        name = f"{package}.{path.stem}"
        _import(plugin, partial(importlib.import_module, name), f"{plugin.name}/{path.name}", str(path))
    if not _registered(plugin):
        raise BadConfiguration(
            "EmptyPlugin",
            f"The plug-in {folder.name} ({', '.join(path.name for path in files)}) was imported, and registers nothing.",
            hint="Give a function or class a name: @register(KIND, NAME), from nnunet_trainer.extensions.",
        )
    _LOADED[str(folder)] = plugin
    return plugin


def _registered(plugin: Plugin) -> bool:
    return any(registry.of(plugin) for _, registry in kinds.imported())


def _package_digest(entries: list[metadata.EntryPoint]) -> str:
    """Over the modules that are imported, and those beside them in their packages."""
    found: dict[str, bytes] = {}
    for entry in entries:
        name = entry.value.partition(":")[0]
        try:
            spec = importlib.util.find_spec(name.partition(".")[0])
        except (ImportError, ValueError):
            continue
        roots = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
        origin = [Path(spec.origin)] if spec and spec.origin and not roots else []
        for root in roots:
            found |= {path.relative_to(root.parent).as_posix(): path.read_bytes() for path in root.rglob("*.py")}
        found |= {path.name: path.read_bytes() for path in origin}
    return contract.digest(found.items())


def digest_of(folder: Path) -> str:
    """The digest of a plug-in's folder."""
    return contract.digest((path.name, path.read_bytes()) for path in python_files(folder))


def _version(files: list[Path]) -> str:
    """The `__version__ = "…"` of one of the files."""
    for path in files:
        try:
            body = ast.parse(path.read_bytes()).body
        except (SyntaxError, ValueError):
            continue  # importing it says what is wrong
        for line in body:
            match line:
                case ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant(value=str(version))):
                    return version
    return ""


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """A mounted ConfigMap cannot be written to; and a file that changed within a second is read anew."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _import(plugin: Plugin, load: Callable[[], Any], what: str, file: str = "") -> None:
    token = IMPORTING.set(plugin)
    try:
        with _no_bytecode():
            within(IMPORT_SECONDS, load, of=file)
        for _, registry in kinds.imported():
            for component in registry.of(plugin):
                schema.check_declared(registry.kind, component)
    except BadConfiguration as fault:
        fault.message = f"The plug-in {plugin.name}: {fault.message}"
        raise
    except TookTooLong as late:
        where = f"; it is at {late.file}, line {late.line}" if late.file else ""
        raise BadConfiguration(
            "PluginFailed",
            f"The plug-in {what} is not imported after {IMPORT_SECONDS / 60:g} minutes{where}.",
            hint="Mend the plug-in: what takes long belongs into its functions.",
        ) from None
    except (Exception, SystemExit) as error:
        raise BadConfiguration(
            "PluginFailed",
            f"The plug-in {what} cannot be imported: {type(error).__name__}: {error}{_last_line(error)}",
            hint=IN_THE_IMAGE if isinstance(error, ModuleNotFoundError) else "Import it by hand and mend it.",
        ) from error
    finally:
        IMPORTING.reset(token)


def _last_line(error: BaseException) -> str:
    """Where it failed: the last line that was run, and its file."""
    if isinstance(error, SyntaxError):  # it names file and line itself
        return f": {error.text.strip()}" if error.text else ""
    frames = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    if not frames:
        return ""
    last = frames[-1]
    line = (last.line or linecache.getline(last.filename, last.lineno or 0)).strip()
    return f" ({last.filename}, line {last.lineno}: {line})"
