"""`nnunet-trainer preprocess RAW --plans P --configuration C -o PREPROCESSED`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnunet_trainer import nnunet_folders
from nnunet_trainer.contract.command_line import counted
from nnunet_trainer.extensions import command_line

USUAL = ("2d", "3d_fullres", "3d_lowres")
"""The configurations that nnU-Net's own command preprocesses where none is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("raw", metavar="RAW", nargs="?", help="a dataset in nnU-Net v2's raw layout (DatasetXXX_Name)")
    parser.add_argument("--plans", metavar="P", help="plans.json of this dataset")
    parser.add_argument(
        *("--configuration", "-c"),
        dest="configurations",
        nargs="+",
        action="extend",
        metavar="C",
        help="2d, 3d_fullres, 3d_lowres or one of your own; with -d also none: those three, of which the plans have",
    )
    parser.add_argument("-o", "--output", metavar="PREPROCESSED", help="nnUNet_preprocessed/DatasetXXX_Name")
    nnunet_folders.add_option(parser, "RAW, --plans and -o")
    parser.add_argument("-p", "--plans-name", "-plans_name", metavar="N", help="with -d: the plans; default: nnUNetPlans")
    parser.add_argument("--workers", type=int, help="processes (default: the cores of this container)")
    parser.add_argument(
        "--shard", default="0/1", metavar="I/N", help="only every N-th case from the I-th on (default: %(default)s)"
    )
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Preprocess, then write what stands beside."""
    from nnunet_trainer.dataset import parallel

    parallel.single_threaded()
    command_line.load(arguments)
    from nnunet_trainer.dataset.raw import RawDataset
    from nnunet_trainer.planning.plans import Plans

    from .companions import write_companions
    from .dataset import preprocess_dataset, shard

    index, count = _shard(arguments.shard)
    dataset, source, output = places(arguments)
    raw = RawDataset.open(dataset)
    plans = Plans.load(source)
    asked = arguments.configurations or [name for name in USUAL if name in plans.configuration_names]
    configurations = [plans.configuration(name) for name in dict.fromkeys(asked)]
    cases = shard(list(raw.cases), index, count)
    if not cases and raw.cases:
        print(f"Shard {index} of {count}: no cases.")
        return 0
    workers = parallel.num_workers(arguments.workers, len(cases))
    for configuration in configurations:
        folder = output / configuration.data_identifier
        made = preprocess_dataset(raw, plans, configuration, folder, workers=workers, cases=cases, progress=_progress())
        found = len(cases) - len(made)
        done = f"{counted(len(made), 'case')} preprocessed"
        print(f"{raw.name}, {configuration.name}: {done}, {found} were there already → {folder}")
    for note in write_companions(raw, plans, output, [source.parent]):
        print(note, file=sys.stderr)
    return 0


def places(arguments: argparse.Namespace) -> tuple[Path, Path, Path]:
    """The raw dataset, the plans, and `nnUNet_preprocessed/Dataset…`, by paths or by -d."""
    named = arguments.configurations or []
    if arguments.raw is None and arguments.dataset is None and len(named) > 1:
        arguments.raw = named.pop()  # `-c 3d_fullres RAW`: what follows the configurations is not one of them
    paths = {"raw": "RAW", "plans": "--plans", "output": "-o"} | ({} if arguments.dataset else {"configurations": "-c"})
    needs = [nnunet_folders.RAW, nnunet_folders.PREPROCESSED]
    dataset = nnunet_folders.chosen(arguments, needs=needs, paths=paths, names={"plans_name": "-p"})
    if dataset is None:
        return Path(arguments.raw), Path(arguments.plans), Path(arguments.output)
    return dataset.existing_raw(), dataset.existing_plans(arguments.plans_name or "nnUNetPlans"), dataset.preprocessed


def _shard(text: str) -> tuple[int, int]:
    from nnunet_trainer.contract.faults import BadUsage

    parts = text.split("/")
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or not int(parts[0]) < int(parts[1]):
        raise BadUsage("InvalidArgument", f"--shard is {text!r}, expected I/N with 0 ≤ I < N, as 0/4.")
    return int(parts[0]), int(parts[1])


def _progress():
    if not sys.stderr.isatty():
        return None
    return lambda done, of: print(f"\r{done}/{of} cases", end="\n" if done == of else "", file=sys.stderr, flush=True)
