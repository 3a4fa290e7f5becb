"""`nnunet-trainer components [KIND]`: all that can be named in a manifest or in plans, built-in and of plug-ins."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable
from typing import Any

from nnunet_trainer.contract.catalogue.shapes import describe
from nnunet_trainer.extensions import command_line, kinds, signatures

from .recipes import catalogue

STEPS = (*kinds.PLANNER_STEPS, "preprocessingStep")
"""The kinds whose names say little by themselves."""
WIDTH = 130
"""Of the lines of names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    about = f"one of {', '.join(kinds.KINDS)}: what each is for, with its parameters; default: the names of all"
    parser.add_argument("kind", nargs="?", metavar="KIND", help=about)
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    for plugin in command_line.load(arguments):
        print(f"Plug-in {plugin}{', an installed package' if plugin.installed else ''}.")
    if arguments.kind is not None:
        print("Built in is all that has no line of a plug-in.")
        show(kinds.key(arguments.kind))
        return 0
    for kind in kinds.KINDS:
        registry = kinds.registry(kind)
        names = ", ".join(name for name in registry if registry[name].plugin is None)
        print(textwrap.fill(f"{kind}: {names}", WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False))
    for kind in kinds.KINDS:
        registry = kinds.registry(kind)
        if own := [name for name in registry if registry[name].plugin is not None]:
            show(kind, own)
    print("What each is for, with its parameters, ranges and defaults: nnunet-trainer components KIND")
    return 0


def show(kind: str, names: Iterable[str] | None = None) -> None:
    """Print components of a kind, all where `names` is None: what each is for, whose it is, parameters with ranges and defaults."""
    known, registry = catalogue.described(kind), kinds.registry(kind)
    title = kind.capitalize() if kind not in STEPS or kind == known["title"] else f"{known['title'].capitalize()}, {kind}"
    given = ", ".join(signatures.ARGUMENTS[kind])
    print(f"{title}, given ({given}):" if given else f"{title}:")
    for name in known["names"] if names is None else names:
        entry = known["names"][name]
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
