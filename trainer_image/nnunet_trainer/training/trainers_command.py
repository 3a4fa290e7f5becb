"""`nnunet-trainer trainers`: the trainers and the components that a recipe can name, with what they change and take."""

from __future__ import annotations

import argparse
import inspect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("name", nargs="?", help="show the whole recipe of this trainer, as YAML")
    parser.add_argument("--components", action="store_true", help="list losses, optimizers and schedules with their parameters")


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    from nnunet_trainer.contract import pod
    from nnunet_trainer.extensions import load_plugins

    load_plugins(pod.plugins())
    if arguments.components:
        _print_components()
    elif arguments.name is not None:
        import yaml

        from . import presets, recipe

        print(yaml.safe_dump(recipe.write(presets.recipe(arguments.name)), sort_keys=False), end="")
    else:
        from .preset_table import V1, V2

        table = {**V2, **V1}
        width = max(map(len, table))
        for name, (_, _, about) in table.items():
            print(f"{name:{width}}  {about}")
        print("<trainer>_<N>epochs is known for any N.")
    return 0


def _print_components() -> None:
    from nnunet_trainer.contract.codec import camel

    from . import components

    for kind, title in (("loss", "Losses"), ("optimizer", "Optimizers"), ("schedule", "Schedules")):
        registry = components.registry(kind)
        print(f"{title}:")
        for name in registry:
            component = registry[name]
            print(f"  {name}: {component.help}")
            for parameter in component.parameters.values():
                needed = parameter.default is inspect.Parameter.empty
                print(f"    {camel(parameter.name)}: {'needed' if needed else parameter.default}")
