"""`local delete`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from nnunet_trainer.contract.faults import BadUsage, ExitCode

from ...api import conditions, kstatus, reasons
from ...inspection import object_names
from ...manifests import names
from ...reconcile.status.sentences import KEEP_RESULTS
from ..object_store import manifest_files
from ..object_store.store import Store
from . import store_argument
from .end_processes import end_processes
from .run import session_of

if TYPE_CHECKING:
    from ..session.session import Session

Manifest = dict[str, Any]


def delete(arguments: argparse.Namespace) -> int:
    """Delete objects, and wait until their processes are gone."""
    store = store_argument.open_store(arguments)
    if bool(arguments.what) == bool(arguments.filename):
        raise BadUsage("BadUsage", "Say what to delete: KIND NAME, or -f FILE.")
    if arguments.filename:
        named = manifest_files.read(arguments.filename, arguments.namespace)
        found = [m for d in named if (m := store.get(d["kind"], d["metadata"]["namespace"], d["metadata"]["name"]))]
    else:
        if not object_names.has_name(arguments.what):
            (word,) = arguments.what
            meant = [each for each in store_argument.named(arguments, store) if each["metadata"]["name"] == word]
            hint = " or ".join(f"nnunet-operator local delete {object_names.short(each)}" for each in meant)
            raise BadUsage("BadUsage", f"Delete which {word}?", hint=hint or f"nnunet-operator local delete {word} NAME")
        found = store_argument.named(arguments, store)
    for manifest in found:
        meta = manifest["metadata"]
        store.delete(manifest["kind"], meta["namespace"], meta["name"], meta["uid"])
        print(f"{object_names.label(manifest)} deleted", flush=True)
    held = _still_there(store, found)

    def done() -> bool:
        waiting = _still_there(store, held)
        if not all(_is_stuck(manifest) for manifest in waiting):
            return False
        gone = {manifest["metadata"]["uid"] for manifest in found} - {manifest["metadata"]["uid"] for manifest in waiting}
        left = (item for kind in ("Job", "Pod") for item in store.all(kind))
        return not any(uid in json.dumps(item["metadata"]) for item in left for uid in gone)

    end_processes(store, done, _session(arguments, store) if held else None)
    _say_what_became_of_results(store, {manifest["metadata"]["uid"] for manifest in held})
    stuck = _still_there(store, held)
    for manifest in stuck:
        print(f"{object_names.label(manifest)} is not gone yet: {kstatus.reason(manifest)[1]}", flush=True)
    return ExitCode.BAD_CONFIGURATION if stuck else ExitCode.DONE


def _still_there(store: Store, manifests: list[Manifest]) -> list[Manifest]:
    """Those that a finalizer holds, as they are now."""
    now = (store.get(m["kind"], m["metadata"]["namespace"], m["metadata"]["name"]) for m in manifests)
    uids = {manifest["metadata"]["uid"] for manifest in manifests}
    return [manifest for manifest in now if manifest is not None and manifest["metadata"]["uid"] in uids]


def _is_stuck(manifest: Manifest) -> bool:
    """Whether only a person, or the end of another run, lets it go."""
    reason, message = kstatus.reason(manifest)
    stalled = bool(conditions.condition_of(manifest, conditions.STALLED, "True"))
    return KEEP_RESULTS in message and (stalled or reason == reasons.RESULTS_IN_USE)


def _session(arguments: argparse.Namespace, store: Store) -> Session:
    """This machine, for the deletion of results alone: what else waits to run goes on waiting."""
    session = session_of(arguments, store)
    session.node.may_start = lambda manifest: manifest["metadata"].get("labels", {}).get(names.STEP) == "delete_results"
    return session


def _say_what_became_of_results(store: Store, uids: set[str]) -> None:
    """Print, and forget, what was said of objects at their end."""
    for event in store.all("Event"):
        if event["involvedObject"]["uid"] in uids and event["reason"] in (reasons.RESULTS_DELETED, reasons.RESULTS_KEPT):
            print(event["message"], flush=True)
            store.delete("Event", event["metadata"]["namespace"], event["metadata"]["name"])
