"""`nnunet-trainer fingerprint RAW -o dataset_fingerprint.json`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("raw", metavar="RAW", help="a dataset in nnU-Net v2's raw layout (DatasetXXX_Name)")
    parser.add_argument("-o", "--output", default="dataset_fingerprint.json", help="file to write (default: %(default)s)")
    parser.add_argument("--extractor", default="DatasetFingerprintExtractor", help="default: %(default)s")
    parser.add_argument("--workers", type=int, help="processes (default: the cores of this container)")


def run(arguments: argparse.Namespace) -> int:
    """Extract and write."""
    from nnunet_trainer.dataset import parallel

    parallel.single_threaded()
    from nnunet_trainer.dataset import files
    from nnunet_trainer.dataset.raw import RawDataset

    from .extraction import extract

    raw = RawDataset.open(arguments.raw)
    workers = parallel.num_workers(arguments.workers, len(raw.cases))
    fingerprint = extract(raw, workers, extractor=arguments.extractor)
    replaced = files.write_json(arguments.output, fingerprint)
    print(f"{raw.name}: {len(raw.cases)} cases → {arguments.output}{' (replaced)' if replaced else ''}")
    return 0
