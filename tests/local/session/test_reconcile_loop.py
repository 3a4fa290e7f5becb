"""A child that the local store does not take."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from nnunet_operator.api import kstatus
from nnunet_operator.api.kstatus import Status
from nnunet_operator.local.machine.scheduler import Machine
from nnunet_operator.local.object_store.store import Store
from nnunet_operator.local.session.session import Session
from nnunet_operator.local.session.uri_map import UriMap
from nnunet_operator.reconcile import reconcile
from nnunet_operator.reconcile.view import Key
from nnunet_operator.reconcile.view_builder import build_view

DATASET = {
    "apiVersion": "nnunet.dev/v1alpha1",
    "kind": "Dataset",
    "metadata": {"name": "data", "namespace": "default"},
    "spec": {"name": "Dataset004_Hippocampus", "source": {"uri": "file:///nowhere"}},
}


def test_a_refused_child_is_a_condition_and_heals(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.apply(DATASET, "tests")
    session = Session(store, Machine(cores=1, memory=1e9))
    session.node.starts = False
    key = Key("Dataset", "default", "data")
    view = build_view(UriMap(store), key, datetime.now(UTC), session.settings)
    assert view is not None
    order = reconcile(view).apply[0]
    squatter = store.create({**order, "data": {"order.json": "{}"}, "immutable": True})
    session.loop.turn()
    found = store.get(*key)
    assert found is not None
    why, message = kstatus.reason(found)
    assert why == "ChildRefused"
    assert f"ConfigMap {order['metadata']['name']}" in message
    assert "immutable" in message
    assert kstatus.compute(found) is Status.FAILED
    assert not store.all("Job"), "a Job without its work order"
    store.remove(squatter)
    session.loop.turn()
    found = store.get(*key)
    assert found is not None
    assert kstatus.reason(found)[0] == "Starting"
    assert len(store.all("Job")) == 1
