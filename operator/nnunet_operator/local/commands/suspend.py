"""`local suspend` and `local resume`."""

from __future__ import annotations

import argparse
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, ExitCode, Temporary

from ...manifests import ownership
from ..object_store.store import Store
from . import object_names
from .end_processes import end_processes

Manifest = dict[str, Any]

SUSPENDABLE = ("TrainingRun", "Plans", "PlanTransfer")


def suspend(arguments: argparse.Namespace) -> int:
    """Ask objects to stop, and wait until they have."""
    return _set_suspend(arguments, True)


def resume(arguments: argparse.Namespace) -> int:
    """Let objects go on."""
    return _set_suspend(arguments, False)


def _set_suspend(arguments: argparse.Namespace, value: bool) -> int:
    store = object_names.open_store(arguments)
    runs = object_names.named(arguments, store)
    for manifest in runs:
        _refuse_others(manifest)
    for manifest in runs:
        meta = manifest["metadata"]
        before = bool(manifest["spec"].get("suspend"))
        store.edit(manifest["kind"], meta["namespace"], meta["name"], lambda new: new["spec"].update(suspend=value))
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


def _refuse_others(manifest: Manifest) -> None:
    label = object_names.label(manifest)
    if manifest["kind"] not in SUSPENDABLE:
        text = f"{label} cannot be suspended: only a {', a '.join(SUSPENDABLE[:-1])} or a {SUSPENDABLE[-1]} can."
        raise BadUsage("NotSuspendable", text)
    if manifest["kind"] == "Plans" and (owner := ownership.controlling_resource(manifest)):
        raise BadUsage("NotSuspendable", f"{label} is kept by {owner[0]} {owner[1]}: suspend, or resume, that.")


def _stopped(store: Store, manifest: Manifest) -> bool:
    """Whether a reconciler has seen an object's newest spec, and nothing of it runs. Of a PlanTransfer its Plans does."""
    meta = manifest["metadata"]
    found = store.get(manifest["kind"], meta["namespace"], meta["name"])
    if found is None:
        return True
    seen = (found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"]
    plans = store.get("Plans", meta["namespace"], meta["name"]) if manifest["kind"] == "PlanTransfer" else None
    if plans is not None and ownership.is_controlled_by(plans, manifest) and not _stopped(store, plans):
        return False
    pods = store.owned(meta["uid"], "Pod")
    return seen and all(pod["status"].get("phase") in ("Succeeded", "Failed") or not pod["spec"].get("nodeName") for pod in pods)


def _say_who_goes_on(arguments: argparse.Namespace, store: Store) -> None:
    try:
        with store.working():
            print(f"Nobody works on this store now. Go on:\n  nnunet-operator local run{object_names.again(arguments)}")
    except Temporary:
        return
