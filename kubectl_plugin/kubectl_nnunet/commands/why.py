"""`kubectl nnunet why`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from nnunet_operator.inspection import object_names
from nnunet_operator.inspection.terminal import Terminal
from nnunet_operator.inspection.why import explanation, waiting
from nnunet_trainer.contract.faults import ExitCode

from .. import connection
from ..cli import PROGRAM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("what", nargs="+", metavar="OBJECT", help="NAME, KIND/NAME or KIND NAME")
    connection.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what an object waits for."""
    with connection.opened(arguments) as cluster:
        manifest = object_names.one(arguments.what, arguments.namespace, cluster)
        print(explanation.text(waiting.explain(manifest, cluster, datetime.now(UTC), PROGRAM), Terminal.of(sys.stdout)))
        for refused in cluster.left_out:
            print(f"Not looked at: {refused}", file=sys.stderr)
    return ExitCode.DONE
