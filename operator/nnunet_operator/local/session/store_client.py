"""The local store as carrying out an Outcome needs it (`controller.object_client.ObjectClient`). Nothing here ever waits."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.faults import Fault

from ...api.resources import KINDS
from ...controller.object_client import AlreadyExists, Rejected
from ...manifests import names
from ...reconcile.view import Key, Manifest
from ..object_store.json_copy import copied
from ..object_store.store import Conflict, Store
from ..object_store.three_way_merge import patched

EVENTS_KEPT = 50
"""Of each object; an API server forgets them after an hour."""


class StoreClient:
    """Reads and writes the objects of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known(self, key: Key) -> Manifest | None:
        """As it stands in the store."""
        return self._store.get(*key)

    def learn(self, manifest: Manifest) -> None:
        """Nothing to do: the store knows."""

    async def get(self, key: Key) -> Manifest | None:
        """As it stands in the store."""
        return self._store.get(*key)

    async def apply(self, manifest: Manifest, *, force: bool) -> bool:
        """Server-side apply, with the checks of an API server for our own kinds."""
        meta, ours = manifest["metadata"], manifest["kind"] in KINDS
        if not force and self._store.get(manifest["kind"], meta["namespace"], meta["name"]) is not None:
            raise Rejected("Conflict", f"{manifest['kind']} {meta['name']} is there already and is somebody else's.")
        try:
            _, said = self._store.apply(manifest, names.MANAGER, _admit if ours else None)
        except Conflict as error:
            raise Rejected("Invalid", str(error)) from error
        except Fault as fault:
            raise Rejected(fault.reason, "; ".join(fault.findings or (fault.message,))) from fault
        return said != "unchanged"

    async def create(self, manifest: Manifest) -> Manifest:
        """Add an object. An event goes with its object, and only the newest are kept."""
        if manifest["kind"] != "Event":
            return self._create(manifest)
        about = manifest["involvedObject"]
        owner = {name: about[name] for name in ("apiVersion", "kind", "name", "uid")}
        found = self._store.get(about["kind"], about["namespace"], about["name"])
        owners = [owner] if found is not None and found["metadata"]["uid"] == about["uid"] else []
        created = self._create({**manifest, "metadata": {**manifest["metadata"], "ownerReferences": owners}})
        # What is said of an object at its end is nobody's: whoever deleted it reads it.
        siblings = self._store.owned(about["uid"], "Event") if owners else [e for e in self._store.all("Event") if not _owners(e)]
        kept = sorted(siblings, key=lambda event: str(event["lastTimestamp"]))
        for oldest in kept[:-EVENTS_KEPT]:
            self._store.delete("Event", oldest["metadata"]["namespace"], oldest["metadata"]["name"])
        return created

    async def merge(self, key: Key, change: Manifest) -> bool:
        """Merge patch."""

        def patch(manifest: Manifest) -> None:
            new = patched(manifest, change)
            manifest.clear()
            manifest.update(new)

        return self._store.edit(*key, patch) is not None

    async def write_finalizers(self, about: Manifest, finalizers: list[str]) -> None:
        """Replace an object's finalizers; it goes with its last one when it is being deleted."""
        meta = about["metadata"]
        change = lambda new: new["metadata"].update(finalizers=list(finalizers))  # noqa: E731
        self._store.edit(about["kind"], meta["namespace"], meta["name"], change, meta["uid"])

    async def is_terminating(self, namespace: str) -> bool:
        """Namespaces are but names here."""
        return False

    async def delete(self, key: Key, uid: str) -> bool:
        """Delete an object."""
        return self._store.delete(*key, uid)

    async def write_status(self, about: Manifest, status: Manifest) -> bool:
        """Write a status. Whoever edited the spec meanwhile sees by `observedGeneration` that it is of an older one."""
        return self._store.set_status(about, copied(status)) is not None

    def _create(self, manifest: Manifest) -> Manifest:
        try:
            return self._store.create(manifest)
        except Conflict as error:
            raise AlreadyExists(str(error)) from error


def _owners(manifest: Manifest) -> Any:
    return manifest["metadata"].get("ownerReferences")


def _admit(manifest: Manifest, old: Manifest | None) -> Any:
    from ...api.schema.validation import admit  # slow to import, and rarely needed

    return admit(manifest, old)
