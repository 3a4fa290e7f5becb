"""`local delete`."""

from __future__ import annotations

import argparse
import json

from nnunet_trainer.contract.faults import BadUsage, ExitCode

from ..object_store import manifest_files
from . import object_names
from .end_processes import end_processes


def delete(arguments: argparse.Namespace) -> int:
    """Delete objects, and wait until their processes are gone."""
    store = object_names.open_store(arguments)
    if bool(arguments.what) == bool(arguments.filename):
        raise BadUsage("BadUsage", "Say what to delete: KIND NAME, or -f FILE.")
    if arguments.filename:
        named = manifest_files.read(arguments.filename, arguments.namespace)
        found = [m for d in named if (m := store.get(d["kind"], d["metadata"]["namespace"], d["metadata"]["name"]))]
    else:
        if not object_names.has_name(arguments.what):
            raise BadUsage(
                "BadUsage", f"Delete which {arguments.what[0]}?", hint=f"nnunet-operator local delete {arguments.what[0]} NAME"
            )
        found = object_names.named(arguments, store)
    for manifest in found:
        meta = manifest["metadata"]
        store.delete(manifest["kind"], meta["namespace"], meta["name"], meta["uid"])
        print(f"{object_names.label(manifest)} deleted", flush=True)
    gone = {manifest["metadata"]["uid"] for manifest in found}

    def done() -> bool:
        left = (item for kind in ("Job", "Pod") for item in store.all(kind))
        return not any(uid in json.dumps(item["metadata"]) for item in left for uid in gone)

    end_processes(store, done)
    return ExitCode.DONE
