"""`local why`: what an object waits for, as `kubectl nnunet why` says it."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from nnunet_trainer.contract.faults import ExitCode

from ...inspection import object_names
from ...inspection.terminal import Terminal
from ...inspection.why import explanation, waiting
from . import store_argument


def why(arguments: argparse.Namespace) -> int:
    """Print what an object waits for."""
    reader = store_argument.StoreReader(store_argument.open_store(arguments))
    manifest = object_names.one(arguments.what, arguments.namespace, reader)
    program = "nnunet-operator local"
    work = f"Have the store worked on: {program} run{store_argument.again(arguments)}"
    found = waiting.explain(manifest, reader, datetime.now(UTC), program, work=work)
    print(explanation.text(found, Terminal.of(sys.stdout)))
    return ExitCode.DONE
