"""`nnunet-trainer components [KIND]`: all that can be named in a manifest or in plans, built-in and of plug-ins."""

from __future__ import annotations

import argparse
import json
from typing import Any

from nnunet_trainer.extensions import command_line, kinds, signatures

STEPS = (*kinds.PLANNER_STEPS, "preprocessingStep")
"""The kinds whose names say little by themselves."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(kinds.KINDS)}; default: all")
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    for plugin in command_line.load(arguments):
        print(f"Plug-in {plugin}{', an installed package' if plugin.installed else ''}.")
    print("Built in is all that has no line of a plug-in.")
    for kind in kinds.KINDS if arguments.kind is None else (kinds.key(arguments.kind),):
        show(kind)
    return 0


def show(kind: str) -> None:
    """Print the components of a kind: what each is for, where it comes from, its parameters with their ranges and defaults."""
    from nnunet_trainer.contract.catalogue.shapes import describe

    from .recipes import catalogue

    known, registry = catalogue.described(kind), kinds.registry(kind)
    title = kind.capitalize() if kind not in STEPS or kind == known["title"] else f"{known['title'].capitalize()}, {kind}"
    given = ", ".join(signatures.ARGUMENTS[kind])
    print(f"{title}, given ({given}):" if given else f"{title}:")
    for name, entry in known["names"].items():
        print(f"  {name}: {entry['about']}")
        if (plugin := registry[name].plugin) is not None:
            print(f"    From the plug-in {plugin}, {registry[name].place}")
        if "like" in entry:
            print(
                f"    The parameters of {entry['like']}, with these defaults:" if entry["defaults"] else f"    As {entry['like']}."
            )
        for parameter, shape in entry.get("parameters", {}).items():
            default = f"default {_said(shape['default'])}" if "default" in shape else "needed"
            print(f"    {parameter}: {describe(shape)}, {default}")
        for parameter, default in entry.get("defaults", {}).items():
            print(f"    {parameter}: {_said(default)}")


def _said(default: Any) -> str:
    """As it is written in a manifest; a component without parameters is its name."""
    if isinstance(default, dict) and set(default) == {"name"}:
        return str(default["name"])
    return default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)
