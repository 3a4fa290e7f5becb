"""The local store as the keeper of objects: every write is noted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.controller.events import EventRecorder
from nnunet_operator.controller.object_client import Rejected
from nnunet_operator.local.object_store.store import Store
from nnunet_operator.local.session.store_client import StoreClient
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.view import Key, Manifest

ABOUT = {
    "apiVersion": "nnunet.dev/v1alpha1",
    "kind": "Dataset",
    "metadata": {"name": "brain", "namespace": "default"},
    "spec": {"name": "Dataset001_Brain", "source": {"uri": "s3://nnunet/raw/Dataset001_Brain"}},
}


class NotedClient(StoreClient):
    """Notes what is written, and refuses what a test wants refused."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.store, self.calls = store, list[tuple[Any, ...]]()
        self.refuse: set[str] = set()  # names
        self.about = store.create(ABOUT)

    async def apply(self, manifest: Manifest, *, force: bool) -> bool:
        self._note("apply", manifest, force)
        return await super().apply(manifest, force=force)

    async def create(self, manifest: Manifest) -> Manifest:
        self._note("create", manifest)
        return await super().create(manifest)

    async def merge(self, key: Key, change: Manifest) -> bool:
        self.calls.append(("merge", key.kind))
        return await super().merge(key, change)

    async def delete(self, key: Key, uid: str) -> bool:
        self.calls.append(("delete", key.kind, key.name))
        return await super().delete(key, uid)

    async def write_status(self, about: Manifest, status: Manifest) -> bool:
        self.calls.append(("status", about["metadata"]["name"]))
        return await super().write_status(about, status)

    def child(self, kind: str, name: str, owner: str | None = None, **more: Any) -> Manifest:
        """A child of the object, or of another owner."""
        uid = owner or self.about["metadata"]["uid"]
        reference = {"apiVersion": "nnunet.dev/v1alpha1", "kind": "Dataset", "name": "brain", "uid": uid, "controller": True}
        meta = {"name": name, "namespace": "default", "labels": {names.OWNER_UID: uid}, "ownerReferences": [reference]}
        return {"apiVersion": "v1", "kind": kind, "metadata": meta, **more}

    def _note(self, what: str, manifest: Manifest, *more: object) -> None:
        name = manifest["metadata"]["name"]
        self.calls.append((what, manifest["kind"], *([] if manifest["kind"] == "Event" else [name]), *more))
        if name in self.refuse:
            raise Rejected("Forbidden", "exceeded quota: gpus")


@pytest.fixture
def client(tmp_path: Path) -> NotedClient:
    return NotedClient(Store(tmp_path / "store"))


@pytest.fixture
def recorder(client: NotedClient) -> EventRecorder:
    return EventRecorder(client, "tests", (Rejected,))
