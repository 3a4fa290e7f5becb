"""`nnunet-trainer plan RAW --fingerprint F -o plans.json`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from nnunet_trainer import nnunet_folders
from nnunet_trainer.extensions import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "raw",
        metavar="RAW",
        nargs="?",
        help="the dataset's folder; only dataset.json is needed, the first image decides the reader",
    )
    nnunet_folders.add_option(parser, "RAW, --fingerprint and -o")
    parser.add_argument("--fingerprint", metavar="F", help="dataset_fingerprint.json")
    parser.add_argument("--planner", "-pl", default="ExperimentPlanner", metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--gpu-memory-gb", "-gpu_memory_target", type=float, metavar="G", help="GPU memory to plan for (default: the planner's own)"
    )
    parser.add_argument(
        *("--target-spacing", "-overwrite_target_spacing"),
        type=float,
        nargs=3,
        metavar=("Z", "Y", "X"),
        help="instead of the median",
    )
    parser.add_argument("--plans-name", "-p", "-overwrite_plans_name", metavar="N", help="default: the planner's own (nnUNetPlans)")
    parser.add_argument(
        "--parameters", metavar="JSON", help='numbers of the planner to change, as {"maxPooling": 4}, or a file of them'
    )
    parser.add_argument(
        "--calibration", metavar="FILE", help="what nnunet-trainer calibrate has measured: the planner's references"
    )
    parser.add_argument("--patch", metavar="JSON", help='merged into the plans, as {"configurations": {…}}, or a file of it')
    parser.add_argument("--explain", action="store_true", help="say why, one line for each decision")
    parser.add_argument("--diff", nargs=2, metavar=("A", "B"), help="compare two plans files instead")
    parser.add_argument("--as-patch", action="store_true", help="with --diff: as YAML for --patch and for a manifest's spec.patch")
    parser.add_argument("-o", "--output", metavar="PLANS", help="plans.json to write (default: <plans name>.json)")
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Plan and write, or compare."""
    from nnunet_trainer.contract.faults import BadUsage
    from nnunet_trainer.dataset import files

    if arguments.diff:
        from nnunet_trainer.contract.yaml_text import writer

        from .plans.difference import difference, patch_between

        before, after = (files.read_json(path, "The plans file") for path in arguments.diff)
        if arguments.as_patch:
            print(writer.dumped(patch_between(before, after), default_flow_style=None), end="")
            return 0
        for line in difference(before, after):
            print(line)
        return 0
    command_line.load(arguments)
    from nnunet_trainer.dataset.raw import RawDataset

    from .planners.experiment import plan
    from .plans import beyond_nnunet, preprocessing_steps

    dataset = nnunet_folders.chosen(
        arguments,
        needs=[nnunet_folders.RAW, nnunet_folders.PREPROCESSED],
        paths={"raw": "RAW"},
        optional={"fingerprint": "--fingerprint", "output": "-o"},
    )
    if not dataset and not arguments.fingerprint:
        raise BadUsage("MissingArgument", "plan needs --fingerprint.", hint="Make one: nnunet-trainer fingerprint RAW -o F.")
    raw = RawDataset.open(dataset.existing_raw() if dataset else arguments.raw)
    notes: list[str] = []
    plans = plan(
        files.read_json(dataset.existing_fingerprint() if dataset else arguments.fingerprint, "The fingerprint"),
        raw.dataset_json,
        dataset_name=raw.name,
        reader=raw.reader,
        planner=arguments.planner,
        gpu_memory_gb=arguments.gpu_memory_gb,
        target_spacing=arguments.target_spacing,
        plans_name=arguments.plans_name,
        parameters=files.json_option(arguments.parameters, "--parameters"),
        patch=files.json_option(arguments.patch, "--patch"),
        calibration=files.read_json(arguments.calibration, "The calibration") if arguments.calibration else None,
        notes=notes,
    )
    if arguments.explain:
        print("\n".join(notes))
    else:
        for line in [*preprocessing_steps.warnings(plans), *beyond_nnunet.lines(plans)]:
            print(f"Note: {line}.", file=sys.stderr)
    name = f"{plans['plans_name']}.json"
    output = dataset.preprocessed / name if dataset else Path(arguments.output or name)
    kept = keep_own_configurations(plans, output)
    replaced = files.write_json(output, plans)
    if dataset:  # nnU-Net's own preprocessing reads it there
        files.write_json(dataset.preprocessed / "dataset.json", raw.dataset_json)
    for name in kept:
        print(f"{output}: the configuration {name} was there already and is kept.", file=sys.stderr)
    print(f"{raw.name}: {', '.join(plans['configurations'])} → {output}{' (replaced)' if replaced else ''}")
    return 0


def keep_own_configurations(plans: dict[str, Any], output: Path) -> list[str]:
    """Take over configurations that a person added to the file that will be replaced, as nnU-Net does; their names."""
    if not output.exists():
        return []
    from nnunet_trainer.dataset import files

    before = files.read_json(output, "The plans file").get("configurations", {})
    own = {name: content for name, content in before.items() if name not in plans["configurations"]}
    plans["configurations"].update(own)
    return list(own)
