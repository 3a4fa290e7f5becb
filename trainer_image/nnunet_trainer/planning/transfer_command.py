"""`nnunet-trainer transfer --plans P --to RAW -o plans.json`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnunet_trainer.extensions import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--plans", required=True, metavar="P", help="the plans to take over")
    parser.add_argument("--to", required=True, metavar="RAW", help="the dataset that they are to fit (dataset.json is needed)")
    parser.add_argument(
        "--from", dest="source", metavar="RAW", help="the dataset that they were made for, for the compatibility report"
    )
    parser.add_argument("--to-fingerprint", metavar="F", help="needed to recompute, and for the report's spacings")
    parser.add_argument("--plans-name", metavar="N", help="of the new plans (default: the old name)")
    parser.add_argument("--normalization", choices=["Transfer", "Recompute"], default="Transfer", help="default: %(default)s")
    parser.add_argument(
        "--intensity-properties", choices=["Transfer", "Recompute"], default="Transfer", help="default: %(default)s"
    )
    parser.add_argument("--on-mismatch", choices=["Warn", "Fail"], default="Warn", help="default: %(default)s")
    parser.add_argument("--patch", metavar="JSON", help="merged into the new plans, or a file of it")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that holds other plans")
    parser.add_argument("-o", "--output", metavar="PLANS", help="plans.json to write (default: <plans name>.json)")
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Transfer, print the compatibility report and write."""
    command_line.load(arguments)
    from nnunet_trainer.contract.faults import BadUsage
    from nnunet_trainer.dataset import files
    from nnunet_trainer.dataset.raw import RawDataset

    from .plans import preprocessing_steps
    from .transfer import transfer

    target = RawDataset.open(arguments.to)
    fingerprint = files.read_json(arguments.to_fingerprint, "The fingerprint") if arguments.to_fingerprint else None
    plans, report = transfer(
        files.read_json(arguments.plans, "The plans file"),
        dataset_name=target.name,
        dataset_json=target.dataset_json,
        reader=target.any_reader,
        plans_name=arguments.plans_name,
        fingerprint=fingerprint,
        source_dataset_json=RawDataset.open(arguments.source).dataset_json if arguments.source else None,
        normalization=arguments.normalization,
        intensity_properties=arguments.intensity_properties,
        on_mismatch=arguments.on_mismatch,
        patch=files.json_option(arguments.patch, "--patch"),
    )
    for line in report:
        print(line, file=sys.stderr if line.verdict != "same" else sys.stdout)
    kept = preprocessing_steps.kept(plans, fingerprint or {}) if arguments.intensity_properties == "Recompute" else {}
    for text in (*kept.values(), *preprocessing_steps.warnings(plans)):
        print(f"Note: {text}.", file=sys.stderr)
    output = Path(arguments.output or f"{plans['plans_name']}.json")
    if output.exists() and not arguments.overwrite and files.read_json(output, "The plans file") != plans:
        raise BadUsage(
            "OutputExists", f"{output} holds other plans.", hint="Choose another -o or --plans-name, or say --overwrite."
        )
    files.write_json(output, plans)
    print(f"{plans['plans_name']} for {target.name} → {output}")
    return 0
