"""`nnunet-trainer fingerprint RAW -o dataset_fingerprint.json`."""

from __future__ import annotations

import argparse

from nnunet_trainer import nnunet_folders
from nnunet_trainer.contract.command_line import counted
from nnunet_trainer.extensions import command_line

OUTPUT = "dataset_fingerprint.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("raw", metavar="RAW", nargs="?", help="a dataset in nnU-Net v2's raw layout (DatasetXXX_Name)")
    nnunet_folders.add_option(parser, "RAW and -o")
    parser.add_argument("-o", "--output", metavar="F", help=f"file to write (default: {OUTPUT})")
    parser.add_argument("--extractor", default="DatasetFingerprintExtractor", help="default: %(default)s")
    parser.add_argument("--parameters", metavar="JSON", help='of the extractor, as {"percentile": 95}, or a file of them')
    parser.add_argument("--workers", type=int, help="processes (default: the cores of this container)")
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Extract and write."""
    from nnunet_trainer.dataset import parallel

    parallel.single_threaded()
    command_line.load(arguments)
    from nnunet_trainer.dataset import files
    from nnunet_trainer.dataset.raw import RawDataset

    from .extraction import extract

    dataset = nnunet_folders.chosen(
        arguments, needs=[nnunet_folders.RAW, nnunet_folders.PREPROCESSED], paths={"raw": "RAW"}, optional={"output": "-o"}
    )
    output = dataset.fingerprint if dataset else arguments.output or OUTPUT
    raw = RawDataset.open(dataset.existing_raw() if dataset else arguments.raw)
    workers = parallel.num_workers(arguments.workers, len(raw.cases))
    parameters = files.json_option(arguments.parameters, "--parameters")
    fingerprint = extract(raw, workers, extractor=arguments.extractor, parameters=parameters)
    replaced = files.write_json(output, fingerprint)
    print(f"{raw.name}: {counted(len(raw.cases), 'case')} → {output}{' (replaced)' if replaced else ''}")
    return 0
