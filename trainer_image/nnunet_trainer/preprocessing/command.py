"""`nnunet-trainer preprocess RAW --plans P --configuration C -o PREPROCESSED`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnunet_trainer.extensions import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("raw", metavar="RAW", help="a dataset in nnU-Net v2's raw layout (DatasetXXX_Name)")
    parser.add_argument("--plans", required=True, metavar="P", help="plans.json of this dataset")
    parser.add_argument("--configuration", "-c", required=True, metavar="C", help="2d, 3d_fullres, 3d_lowres or one of your own")
    parser.add_argument("-o", "--output", required=True, metavar="PREPROCESSED", help="nnUNet_preprocessed/DatasetXXX_Name")
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
    raw = RawDataset.open(arguments.raw)
    plans = Plans.load(Path(arguments.plans))
    configuration = plans.configuration(arguments.configuration)
    cases = shard(list(raw.cases), index, count)
    folder = Path(arguments.output) / configuration.data_identifier
    if not cases and raw.cases:
        print(f"Shard {index} of {count}: no cases.")
        return 0
    workers = parallel.num_workers(arguments.workers, len(cases))
    made = preprocess_dataset(raw, plans, configuration, folder, workers=workers, cases=cases, progress=_progress())
    for note in write_companions(raw, plans, arguments.output, [Path(arguments.plans).parent]):
        print(note, file=sys.stderr)
    found = len(cases) - len(made)
    print(f"{raw.name}, {configuration.name}: {len(made)} cases preprocessed, {found} were there already → {folder}")
    return 0


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
