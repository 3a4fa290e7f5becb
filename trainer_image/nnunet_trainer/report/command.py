"""`nnunet-trainer report RESULTS …`: a table of trained folds with their validation Dice."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from .runs import find_folds, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help="nnUNet_results, or any folder below it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    results = find_folds(arguments.results)
    if arguments.json:
        rows = [dataclasses.asdict(r) | {"folder": str(r.folder), "dice": {str(k): v for k, v in r.dice.items()}} for r in results]
        print(json.dumps(rows, indent=2))
    else:
        print(table(results))
    return 0
