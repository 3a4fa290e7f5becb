"""Whose results lie below a run's prefix: each TrainingRun that trains there, or finds results there, notes its uid.

A prefix is the address of results, made of what decides them; so the TrainingRun of another cluster with the same storage, or one
that was deleted and made again, may have the same. Results are deleted only where nobody else is noted (`steps.delete_results`).
Who deletes says so first, and looks for others then; who trains notes itself first, and looks for a deletion then. So of two that
come at the same moment at least one sees the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..artifacts import ObjectStore
from ..artifacts.store import ObjectNotFound
from ..artifacts.writer import as_json
from ..contract import keys
from ..contract.faults import BadConfiguration, StorageFault
from ..contract.work_order import DeleteResultsOrder, TrainOrder

UNKNOWN = "unknown"
"""Stands for whoever trained here before owners were noted."""
_NOTE, _DELETION = ".json", ".deleting"


@dataclass(frozen=True, slots=True)
class Owners:
    """The uids that are noted at a prefix, and the keys by which deletions are announced."""

    uids: frozenset[str]
    deletions: frozenset[str]


def of(store: ObjectStore, run: str) -> Owners:
    """Whoever is noted at a run's prefix."""
    found = [info.key for info in store.list(f"{keys.owners(run)}/")]
    uids = {key.rpartition("/")[2].removesuffix(_NOTE) for key in found if key.endswith(_NOTE)}
    return Owners(frozenset(uids), frozenset(key for key in found if key.endswith(_DELETION)))


def refuse_other_plugins(store: ObjectStore, run: str, order: TrainOrder, plugins: Mapping[str, str]) -> None:
    """That what this TrainingRun has trained already, below another digest, was trained by the same plug-ins.

    Args:
        store: of the results.
        run: the prefix that is trained in now.
        order: whose it is.
        plugins: the digests of those that it names.

    Raises:
        BadConfiguration: a ConfigMap was changed since.
    """
    if not order.owner or not plugins:
        return
    found = list(store.list(f"{keys.runs(order.namespace, order.run)}/"))
    trained = {info.key.rpartition("/owners/")[0] for info in found if info.key.endswith(f"/owners/{order.owner}{_NOTE}")}
    for other in sorted(trained - {run}):
        if not any(info.key.startswith(f"{other}/") and info.key.endswith(".pth") for info in found):
            continue  # it came to nothing: a plug-in may be mended
        before = json.loads(store.get(f"{keys.owners(other)}/{order.owner}{_NOTE}")).get("plugins") or {}
        for name, digest in plugins.items():
            if before.get(name, digest) != digest:
                raise BadConfiguration(
                    "PluginChanged",
                    f"The plug-in {name} is another than when this TrainingRun began ({before[name][:12]} → {digest[:12]}): "
                    f"what is at {store.uri(other)} was trained by that.",
                    hint="Put its ConfigMap back as it was, or train with the new one in another TrainingRun.",
                )


def claim(store: ObjectStore, run: str, order: TrainOrder, plugins: Mapping[str, str] | None = None) -> None:
    """Note that the results at a prefix are this run's too; nothing for an order that does not say whose it is.

    Args:
        store: of the results.
        run: their prefix.
        order: whose they are.
        plugins: the digests of those that it names.

    Raises:
        StorageFault: they are being deleted.
    """
    if not order.owner:
        return
    known = of(store, run)
    if not known.uids and _is_in_use(store, run) and order.owner not in of(store, run).uids:
        _note(store, run, UNKNOWN, {"message": "These results were begun before their owners were noted."})
    if order.owner not in known.uids:
        about: dict[str, Any] = {"kind": "TrainingRun", "namespace": order.namespace, "name": order.run, "uid": order.owner}
        if plugins:
            about["plugins"] = dict(plugins)
        _note(store, run, order.owner, about)
    if deletions := of(store, run).deletions:
        key = min(deletions)
        raise StorageFault(
            "ResultsBeingDeleted",
            f"The results at {store.uri(run)} are being deleted, for a TrainingRun of this name with retention: Delete.",
            hint=f"It is tried again. If nothing deletes them any more, delete {store.uri(key)}.",
        )


def announce_deletion(store: ObjectStore, run: str, order: DeleteResultsOrder) -> frozenset[str]:
    """Say that a prefix is about to be deleted; the uids of all others that are noted there now."""
    store.put(_deletion_key(run, order), as_json({"uid": order.owner}))
    return of(store, run).uids - {order.owner}


def end_deletion(store: ObjectStore, run: str, order: DeleteResultsOrder) -> None:
    """Nothing at a prefix is being deleted any more."""
    store.delete(_deletion_key(run, order))


def leave(store: ObjectStore, run: str, order: DeleteResultsOrder) -> None:
    """The results at a prefix are no longer this run's."""
    store.delete(f"{keys.owners(run)}/{order.owner}{_NOTE}")


def describe(store: ObjectStore, run: str, uid: str) -> str:
    """Somebody who is noted at a prefix, for people."""
    if uid == UNKNOWN:
        return "somebody who began them with a version before 0.2.0"
    try:
        about = json.loads(store.get(f"{keys.owners(run)}/{uid}{_NOTE}"))
        return f"TrainingRun {about['namespace']}/{about['name']} with uid {uid}"
    except (ObjectNotFound, ValueError, KeyError, TypeError):
        return f"the object with uid {uid}"


def _note(store: ObjectStore, run: str, uid: str, about: dict[str, Any]) -> None:
    store.put(f"{keys.owners(run)}/{uid}{_NOTE}", as_json(about))


def _deletion_key(run: str, order: DeleteResultsOrder) -> str:
    return f"{keys.owners(run)}/{order.owner}{_DELETION}"


def _is_in_use(store: ObjectStore, run: str) -> bool:
    """Whether anything but notes lies at a prefix."""
    notes = f"{keys.owners(run)}/"
    return any(not info.key.startswith(notes) for info in store.list(f"{run}/"))
