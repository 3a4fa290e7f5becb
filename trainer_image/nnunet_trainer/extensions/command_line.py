"""`--plugins DIR` of the commands that run code of plug-ins."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadUsage

from .plugins import load_plugins, plugin_folders
from .registry import Plugin


def add_option(parser: argparse.ArgumentParser) -> None:
    """Declare `--plugins`."""
    parser.add_argument(
        "--plugins",
        type=Path,
        action="append",
        metavar="DIR",
        help="a plug-in's Python files, or folders of them; installed packages are found without it; may be repeated",
    )


def load(arguments: argparse.Namespace) -> list[Plugin]:
    """Import what `--plugins` names, what the pod has mounted, and installed plug-ins.

    Raises:
        BadUsage: a folder that is not there, or holds no Python file.
        BadConfiguration: a plug-in fails to import or registers nothing.
    """
    asked: list[Path] = arguments.plugins or []
    for folder in asked:
        if not plugin_folders(folder, None):
            raise BadUsage("InvalidArgument", f"--plugins {folder}: there is no folder with Python files of a plug-in.")
    loaded = [plugin for folder in (pod.plugins(), *(folder.resolve() for folder in asked)) for plugin in load_plugins(folder)]
    return list(dict.fromkeys(loaded))
