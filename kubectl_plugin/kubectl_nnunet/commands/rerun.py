"""`kubectl nnunet rerun`."""

from __future__ import annotations

import argparse

from nnunet_operator.inspection import changes

from .. import connection
from . import spec_change


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    spec_change.add_arguments(parser)
    parser.add_argument("--value", metavar="TEXT", help="the new value of spec.rerun (default: the time)")
    connection.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Have what failed tried again; a Dataset's source read again."""
    return spec_change.run(arguments, lambda manifest: changes.rerun(manifest, arguments.value))
