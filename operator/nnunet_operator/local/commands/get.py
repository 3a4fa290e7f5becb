"""`local get`, once or for as long as something changes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.yaml_text import writer

from ...api import kstatus
from ...api.kstatus import Status
from ...inspection import object_names, printer_columns
from ..machine.scheduler import Machine
from ..object_store.store import Store
from . import store_argument
from .output.progress_display import display

Manifest = dict[str, Any]


def get(arguments: argparse.Namespace) -> int:
    """Objects in the form that was asked for."""
    store = store_argument.open_store(arguments)
    if arguments.watch:
        return _look_on(arguments, store)
    found = store_argument.named(arguments, store)
    mixed = not arguments.what
    if not found and arguments.output not in ("yaml", "json"):
        print(f"No resources found in {arguments.namespace} namespace.", file=sys.stderr)
        return ExitCode.DONE
    shown = [object_names.public(manifest) for manifest in found]
    one = len(shown) == 1 and object_names.has_name(arguments.what)
    whole = shown[0] if one else {"apiVersion": "v1", "kind": "List", "items": shown}
    match arguments.output:
        case "yaml":
            print(writer.dumped(whole), end="")
        case "json":
            print(json.dumps(whole, indent=2, ensure_ascii=False))
        case "name":
            print(*(object_names.label(manifest) for manifest in found), sep="\n")
        case other:
            print(printer_columns.tables(found, wide=other == "wide", prefixed=mixed))
    return ExitCode.DONE


def _look_on(arguments: argparse.Namespace, store: Store) -> int:
    from ..session.session import Session

    session = Session(store, Machine(cores=1, memory=1))
    shown, seen = display(), -1
    try:
        session.progress.start()
        while True:
            snapshot = session.snapshot()
            session.progress.ask_from_now_on(snapshot.pods)
            news = store.revision() + session.progress.news
            if news != seen:
                seen = news
                shown.show(snapshot)
            if all(kstatus.compute(manifest) is not Status.IN_PROGRESS for manifest in snapshot.objects):
                return ExitCode.DONE
            time.sleep(0.3)
    finally:
        session.progress.stop()
        shown.close()
