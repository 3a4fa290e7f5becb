"""`nnunet-trainer trainers`: the trainers and the components that a recipe can name, with what they change and take."""

from __future__ import annotations

import argparse
import sys

from nnunet_trainer.extensions import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("name", nargs="?", help="show the whole recipe of this trainer, as YAML")
    parser.add_argument(
        "--components", action="store_true", help="list the components of recipes; of all kinds: nnunet-trainer components"
    )
    parser.add_argument(
        "--catalogue",
        action="store_true",
        help="all of it as JSON, for the operator: it checks manifests by it before a Job is made",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="of --catalogue (default: standard output)")
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    command_line.load(arguments)
    if arguments.catalogue:
        _write_catalogue(arguments.output)
    elif arguments.components:
        from . import components_command
        from .components import lookup

        for kind in lookup.KINDS:
            components_command.show(kind)
    elif arguments.name is not None:
        from nnunet_trainer.contract.yaml_text import writer

        from .recipes import presets, recipe

        print(writer.dumped(recipe.write(presets.recipe(arguments.name))), end="")
    else:
        from .recipes.presets import PRESETS

        width = max(map(len, PRESETS))
        for name, (_, _, about) in PRESETS.items():
            print(f"{name:{width}}  {about}")
        print("<trainer>_<N>epochs is known for any N.")
    return 0


def _write_catalogue(output: str | None) -> None:
    from pathlib import Path

    from .recipes import catalogue

    text = catalogue.dumps()
    if output is None:
        sys.stdout.write(text)
        return
    Path(output).write_text(text, encoding="utf-8")
    print(output)
