"""`kubectl nnunet suspend`."""

from __future__ import annotations

import argparse

from nnunet_operator.inspection import changes

from .. import connection
from . import spec_change


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    spec_change.add_arguments(parser)
    connection.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask objects to stop."""
    return spec_change.run(arguments, changes.suspend)
