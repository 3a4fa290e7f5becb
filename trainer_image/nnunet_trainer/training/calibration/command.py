"""`nnunet-trainer calibrate`: measure what a planner's networks take of a GPU's memory."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_trainer.extensions import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--planner", default="ExperimentPlanner", metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--parameters", metavar="JSON", help='of the planner, as {"architecture": {"name": "MedNeXt", "size": "L"}}, or a file'
    )
    parser.add_argument("--dataset", metavar="RAW", help="channels and labels of this dataset's dataset.json; default: 1 and 2")
    parser.add_argument(
        "--dimensions", type=int, nargs="+", choices=(2, 3), default=[3, 2], metavar="N", help="2, 3 or both; default: both"
    )
    parser.add_argument(
        "--gpu-memory-gb",
        type=float,
        metavar="G",
        help="to fill, at most the GPU's; default: the GPU's, without one the planner's reference",
    )
    parser.add_argument("--margin", type=float, metavar="F", help="share that stays free; default: 0.1 on a GPU, 0.25 on a CPU")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default: %(default)s")
    parser.add_argument("-o", "--output", type=Path, default=Path("calibration.json"), help="default: %(default)s")
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and write what `nnunet-trainer plan --calibration` takes."""
    from nnunet_trainer.contract.faults import BadUsage
    from nnunet_trainer.dataset import files

    for option, value, low, high in (("--gpu-memory-gb", arguments.gpu_memory_gb, 0, 1024), ("--margin", arguments.margin, -1, 1)):
        if value is not None and not low < value < high:
            raise BadUsage("InvalidArgument", f"{option} is {value:g}; a number above {max(low, 0)} and below {high} was expected.")
    command_line.load(arguments)
    from nnunet_trainer.planning.planner_presets import planner

    from ..ranks import devices
    from .series import calibrate

    dataset_json = {"channel_names": {"0": "image"}, "labels": {"background": 0, "foreground": 1}, "numTraining": 1}
    if arguments.dataset:
        dataset_json = files.read_json(Path(arguments.dataset) / "dataset.json", "The dataset's description")
    result = calibrate(
        planner(arguments.planner, files.json_option(arguments.parameters, "--parameters")),
        dataset_json=dataset_json,
        dimensions=sorted(set(arguments.dimensions), reverse=True),
        device=devices.choose(arguments.device),
        memory_gb=arguments.gpu_memory_gb,
        margin=arguments.margin,
        say=lambda line: print(line, flush=True),
    )
    replaced = files.write_json(arguments.output, result.content())
    print(result.sentence())
    print(f"{', '.join(result.described())} → {arguments.output}{' (replaced)' if replaced else ''}")
    return 0
