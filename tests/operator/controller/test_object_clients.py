"""Both keepers of objects, the API server and the local store, do what `ObjectClient` says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nnunet_operator.cluster.api.kubeconfig import connect
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.object_client import CachedApi
from nnunet_operator.controller.object_client import AlreadyExists, ObjectClient, Rejected, key_of
from nnunet_operator.local.object_store.store import Store
from nnunet_operator.local.session.store_client import StoreClient
from nnunet_operator.reconcile.view import Key, Manifest

DATASET = {
    "apiVersion": "nnunet.dev/v1alpha1",
    "kind": "Dataset",
    "metadata": {"name": "brain"},
    "spec": {"name": "Dataset001_Brain", "source": {"uri": "s3://nnunet/raw/Dataset001_Brain"}},
}
FROZEN = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "order"}, "immutable": True, "data": {"a": "b"}}
SUSPENDED_JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "job"},
    "spec": {
        "suspend": True,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "none"}]}},
    },
}


class Keeper:
    """A client, and the namespace that it may write to."""

    def __init__(self, client: ObjectClient, namespace: str) -> None:
        self.client, self.namespace = client, namespace

    def here(self, manifest: Manifest, **more: object) -> Manifest:
        """A manifest in that namespace."""
        return {**manifest, **more, "metadata": {**manifest["metadata"], "namespace": self.namespace}}


@pytest.fixture(params=["store", pytest.param("api", marks=pytest.mark.controlplane)])
async def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Keeper]:
    if request.param == "store":
        yield Keeper(StoreClient(Store(tmp_path / "store")), "default")
        return
    plane, namespace = request.getfixturevalue("control_plane"), request.getfixturevalue("namespace")
    api = await connect(plane.kubeconfig)
    yield Keeper(CachedApi(api, ObjectCache()), namespace)
    await api.close()


async def test_a_name_is_given_once(keeper: Keeper) -> None:
    made = await keeper.client.create(keeper.here(SUSPENDED_JOB))
    assert made["metadata"]["uid"]
    assert keeper.client.known(key_of(made)) is not None, "what was made is known at once"
    with pytest.raises(AlreadyExists):
        await keeper.client.create(keeper.here(SUSPENDED_JOB))


async def test_the_same_is_applied_once(keeper: Keeper) -> None:
    assert await keeper.client.apply(keeper.here(FROZEN), force=True)
    assert not await keeper.client.apply(keeper.here(FROZEN), force=True)
    found = await keeper.client.get(Key("ConfigMap", keeper.namespace, "order"))
    assert found is not None
    assert found["data"] == {"a": "b"}


async def test_what_is_not_accepted_says_why(keeper: Keeper) -> None:
    await keeper.client.apply(keeper.here(FROZEN), force=True)
    with pytest.raises(Rejected, match="immutable"):
        await keeper.client.apply(keeper.here(FROZEN, data={"a": "c"}), force=True)
    with pytest.raises(Rejected, match=r"spec\.source\.uri") as raised:
        await keeper.client.apply(
            keeper.here(DATASET, spec={"name": "Dataset001_Brain", "source": {"uri": "ftp://x/y"}}), force=True
        )
    assert raised.value.reason == "Invalid"


async def test_a_merge_needs_an_object(keeper: Keeper) -> None:
    key = Key("ConfigMap", keeper.namespace, "notes")
    assert not await keeper.client.merge(key, {"data": {"a": "b"}})
    notes = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data": {"a": "b", "c": "d"}}
    await keeper.client.create(keeper.here(notes))
    assert await keeper.client.merge(key, {"data": {"a": None, "e": "f"}})
    found = await keeper.client.get(key)
    assert found is not None
    assert found["data"] == {"c": "d", "e": "f"}


async def test_only_the_very_object_is_deleted(keeper: Keeper) -> None:
    await keeper.client.apply(keeper.here(DATASET), force=False)
    key = Key("Dataset", keeper.namespace, "brain")
    known = keeper.client.known(key)
    assert known is not None
    assert not await keeper.client.delete(key, "another-uid")
    assert await keeper.client.get(key) is not None
    assert await keeper.client.delete(key, known["metadata"]["uid"])
    assert await keeper.client.get(key) is None
    assert not await keeper.client.delete(key, known["metadata"]["uid"])


async def test_a_status_is_the_whole_status_and_written_once(keeper: Keeper) -> None:
    await keeper.client.apply(keeper.here(DATASET), force=False)
    key, versions = Key("Dataset", keeper.namespace, "brain"), []
    for status in ({"observedGeneration": 1, "cases": 7}, {"observedGeneration": 1, "cases": 7}, {"observedGeneration": 1}):
        about = keeper.client.known(key)
        assert about is not None
        await keeper.client.write_status(about, status)
        found = await keeper.client.get(key)
        assert found is not None
        assert found["status"] == status
        assert found["metadata"]["generation"] == 1
        versions.append(found["metadata"]["resourceVersion"])
    assert versions[0] == versions[1] != versions[2]


async def test_an_object_that_is_held_goes_with_its_last_finalizer(keeper: Keeper) -> None:
    made, held = await keeper.client.create(keeper.here(DATASET)), ["example.com/mine", "nnunet.dev/results"]
    await keeper.client.write_finalizers(made, held)
    known = keeper.client.known(key_of(made))
    assert known is not None
    assert known["metadata"]["finalizers"] == held
    assert known["spec"] == made["spec"]
    await keeper.client.delete(key_of(made), made["metadata"]["uid"])
    deleted = keeper.client.known(key_of(made))
    assert deleted is not None
    assert deleted["metadata"]["deletionTimestamp"]
    await keeper.client.write_finalizers(deleted, held[:1])
    assert await keeper.client.get(key_of(made)) is not None, "another one holds it"
    last = await keeper.client.get(key_of(made))
    assert last is not None
    await keeper.client.write_finalizers(last, [])
    assert await keeper.client.get(key_of(made)) is None
    await keeper.client.write_finalizers(last, [])  # it is gone: no error


async def test_a_namespace_that_nobody_deletes_is_not_terminating(keeper: Keeper) -> None:
    assert not await keeper.client.is_terminating(keeper.namespace)
