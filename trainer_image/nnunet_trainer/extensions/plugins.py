"""Plug-ins: modules of installed packages, and Python files of mounted ConfigMaps, that register components of their own."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.catalogue import ENTRY_POINTS
from nnunet_trainer.contract.faults import BadConfiguration


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
