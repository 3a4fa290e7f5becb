"""`local suspend`, `local resume` and `local rerun`: one field of an object's spec."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from nnunet_trainer.contract.faults import ExitCode

from ...inspection import changes, object_names
from ...inspection.changes import Change
from ...manifests import ownership
from ..object_store.store import Store
from . import store_argument
from .end_processes import end_processes

Manifest = dict[str, Any]


def suspend(arguments: argparse.Namespace) -> int:
    """Ask objects to stop, and wait until they have."""
    store = store_argument.open_store(arguments)
    found = store_argument.named(arguments, store)
    _change_all(store, found, changes.suspend)
    end_processes(store, lambda: all(_stopped(store, manifest) for manifest in found))
    return ExitCode.DONE


def resume(arguments: argparse.Namespace) -> int:
    """Let objects go on."""
    store = store_argument.open_store(arguments)
    _change_all(store, store_argument.named(arguments, store), changes.resume)
    store_argument.say_who_goes_on(arguments, store)
    return ExitCode.DONE


def rerun(arguments: argparse.Namespace) -> int:
    """Have what failed tried again; a Dataset's source read again."""
    store = store_argument.open_store(arguments)
    found = [object_names.one(words, arguments.namespace, store) for words in object_names.grouped(arguments.what)]
    _change_all(store, found, lambda manifest: changes.rerun(manifest, arguments.value))
    store_argument.say_who_goes_on(arguments, store)
    return ExitCode.DONE


def _change_all(store: Store, manifests: list[Manifest], change: Callable[[Manifest], Change]) -> None:
    """Change all objects, or, where one of them is refused, none."""
    for manifest, wanted in [(manifest, change(manifest)) for manifest in manifests]:
        _edit(store, manifest, wanted.spec)
        print(wanted.says, flush=True)


def _edit(store: Store, manifest: Manifest, spec: Manifest) -> None:
    meta = manifest["metadata"]
    store.edit(manifest["kind"], meta["namespace"], meta["name"], lambda new: new["spec"].update(spec), meta["uid"])


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
