"""`local suspend`, `resume` and `delete`: the calls that change what is wanted, and see to it that processes end."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, ExitCode, Temporary

from ..machine.scheduler import Machine
from ..object_store import manifest_files
from ..object_store.store import Store
from . import object_names

Manifest = dict[str, Any]

PATIENCE_SECONDS = 600.0
"""How long another shell is waited for that ends what runs."""


def suspend(arguments: argparse.Namespace) -> int:
    """Ask TrainingRuns to stop, and wait until they have."""
    return _set_suspend(arguments, True)


def resume(arguments: argparse.Namespace) -> int:
    """Let TrainingRuns go on."""
    return _set_suspend(arguments, False)


def _set_suspend(arguments: argparse.Namespace, value: bool) -> int:
    store = object_names.open_store(arguments)
    runs = object_names.named(arguments, store)
    if others := [manifest for manifest in runs if manifest["kind"] != "TrainingRun"]:
        raise BadUsage("NotSuspendable", f"{object_names.label(others[0])} cannot be suspended: only a TrainingRun can.")
    for manifest in runs:
        meta = manifest["metadata"]
        before = bool(manifest["spec"].get("suspend"))
        store.edit("TrainingRun", meta["namespace"], meta["name"], lambda new: new["spec"].update(suspend=value))
        print(
            f"{object_names.label(manifest)} {'unchanged' if before == value else 'suspended' if value else 'resumed'}", flush=True
        )
    if not value:
        _say_who_goes_on(arguments, store)
        return ExitCode.DONE

    def done() -> bool:
        return all(_stopped(store, manifest) for manifest in runs)

    return _settle(arguments, store, done)


def _stopped(store: Store, manifest: Manifest) -> bool:
    """Whether a reconciler has seen an object's newest spec, and nothing of it runs."""
    meta = manifest["metadata"]
    found = store.get(manifest["kind"], meta["namespace"], meta["name"])
    if found is None:
        return True
    seen = (found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"]
    pods = store.owned(meta["uid"], "Pod")
    return seen and all(pod["status"].get("phase") in ("Succeeded", "Failed") or not pod["spec"].get("nodeName") for pod in pods)


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

    return _settle(arguments, store, done)


def _settle(arguments: argparse.Namespace, store: Store, done: Callable[[], bool]) -> int:
    """See to it that processes end: by the process that works on the store, or, when there is none, by this one."""
    from ..session import Session

    try:
        with store.working():
            session = Session(store, Machine(cores=0, memory=0))
            session.node.starts = False
            session.run(lambda _: None, done=done)
    except Temporary:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done() and time.monotonic() < deadline:
            time.sleep(0.1)
    return ExitCode.DONE


def _say_who_goes_on(arguments: argparse.Namespace, store: Store) -> None:
    try:
        with store.working():
            print(f"Nobody works on this store now. Go on:\n  nnunet-operator local run{object_names.again(arguments)}")
    except Temporary:
        return
