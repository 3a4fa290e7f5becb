"""`local suspend` and `local resume`."""

from __future__ import annotations

import argparse
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, ExitCode, Temporary

from ..object_store.store import Store
from . import object_names
from .end_processes import end_processes

Manifest = dict[str, Any]


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

    end_processes(store, done)
    return ExitCode.DONE


def _stopped(store: Store, manifest: Manifest) -> bool:
    """Whether a reconciler has seen an object's newest spec, and nothing of it runs."""
    meta = manifest["metadata"]
    found = store.get(manifest["kind"], meta["namespace"], meta["name"])
    if found is None:
        return True
    seen = (found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"]
    pods = store.owned(meta["uid"], "Pod")
    return seen and all(pod["status"].get("phase") in ("Succeeded", "Failed") or not pod["spec"].get("nodeName") for pod in pods)


def _say_who_goes_on(arguments: argparse.Namespace, store: Store) -> None:
    try:
        with store.working():
            print(f"Nobody works on this store now. Go on:\n  nnunet-operator local run{object_names.again(arguments)}")
    except Temporary:
        return
