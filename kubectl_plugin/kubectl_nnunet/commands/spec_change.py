"""What `rerun`, `suspend` and `resume` share: objects by name, one field of their specs, one line each."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from nnunet_operator.inspection import object_names
from nnunet_operator.inspection.changes import Change
from nnunet_operator.reconcile.view import Manifest
from nnunet_trainer.contract.faults import ExitCode

from .. import connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The objects."""
    parser.add_argument("what", nargs="+", metavar="OBJECT", help="NAME or KIND/NAME, several too")


def run(arguments: argparse.Namespace, change: Callable[[Manifest], Change]) -> int:
    """Change all objects, or, where one of them is refused, none."""
    with connection.opened(arguments) as cluster:
        words = object_names.grouped(arguments.what)
        found = [object_names.one(each, arguments.namespace, cluster) for each in words]
        for manifest, wanted in [(manifest, change(manifest)) for manifest in found]:
            if wanted.spec:
                cluster.change(manifest, wanted.spec)
            print(wanted.says, flush=True)
    return ExitCode.DONE
