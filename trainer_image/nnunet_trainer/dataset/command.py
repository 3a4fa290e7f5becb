"""`nnunet-trainer verify RAW`."""

from __future__ import annotations

import argparse
import json
import sys

from nnunet_trainer import nnunet_folders
from nnunet_trainer.contract.command_line import counted
from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.extensions import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("raw", metavar="RAW", nargs="?", help="a dataset in nnU-Net v2's raw layout (DatasetXXX_Name)")
    nnunet_folders.add_option(parser, "RAW")
    parser.add_argument("--workers", type=int, help="processes (default: the cores of this container)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print every fault; exit 65 when there is one."""
    from . import parallel

    parallel.single_threaded()
    command_line.load(arguments)
    from . import splits
    from .raw import RawDataset
    from .verification.verify import verify

    dataset = nnunet_folders.chosen(arguments, needs=[nnunet_folders.RAW], paths={"raw": "RAW"})
    folder = dataset.existing_raw() if dataset else arguments.raw
    findings = verify(folder, arguments.workers)
    if arguments.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        for finding in findings:
            print(finding, file=sys.stderr if finding.fatal else sys.stdout)
    wrong = [finding for finding in findings if finding.fatal]
    if wrong:
        if not arguments.json:
            cases = len({finding.case for finding in wrong if finding.case})
            where = counted(cases, "case") if cases else "the dataset"
            print(f"{counted(len(wrong), 'fault')} in {where}.", file=sys.stderr)
        return int(ExitCode.BAD_DATA)
    raw = RawDataset.open(folder)
    if not arguments.json:
        print(f"{raw.name}: {counted(len(raw.cases), 'case')}, read by {raw.reader}. No faults.")
        if not (raw.folder / splits.FILE).exists() and (few := splits.shortage(list(raw.cases))):
            print(f"Warning: {few}.")
    return 0
