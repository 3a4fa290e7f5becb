"""The start gate and the comparison with the cluster, against the real API server and without any watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
from nnunet_operator.cluster.api.client import Api
from nnunet_operator.cluster.api.errors import ApiError
from nnunet_operator.cluster.api.kinds import WATCHED, ApiKind
from nnunet_operator.cluster.api.kubeconfig import connect
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.watch import relist
from nnunet_operator.cluster.watch.relist import Relist
from nnunet_operator.reconcile.view import Key, Manifest
from support.controlplane import ControlPlane

from ..conftest import dataset, plans

pytestmark = pytest.mark.controlplane


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    found = await connect(control_plane.kubeconfig)
    yield found
    await found.close()


class Comparison:
    """A store, its comparison, and who was woken."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.cache, self.woken = ObjectCache(), set[Key]()
        self.relist = Relist(api, self.cache, (namespace,), 60, self.woken.update)


async def test_the_gate_lists_everything_page_by_page(
    control_plane: ControlPlane, namespace: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnunet_operator.cluster.api.client.PAGE", 2)
    for i in range(5):
        control_plane.admin.apply(dataset(namespace, f"d{i}"))
    control_plane.admin.apply(plans(namespace))
    one = Comparison(api, namespace)
    await one.relist.fill()
    assert sorted(key.name for key in one.cache.keys("Dataset")) == [f"d{i}" for i in range(5)]
    found = one.cache.get("Plans", namespace, "brain")
    assert found is not None
    assert found["spec"]["datasetRef"] == {"name": "brain"}
    assert "managedFields" not in found["metadata"]
    await one.relist.compare()
    assert one.relist.fresh
    assert not one.woken


async def test_what_is_gone_is_forgotten_and_whom_it_concerns_is_woken(
    control_plane: ControlPlane, namespace: str, api: Api
) -> None:
    for manifest in (dataset(namespace), plans(namespace), dataset(namespace, "other")):
        control_plane.admin.apply(manifest)
    one = Comparison(api, namespace)
    await one.relist.fill()
    control_plane.admin.delete(dataset(namespace))
    await one.relist.compare()
    assert one.cache.get("Dataset", namespace, "brain") is None
    assert one.cache.get("Dataset", namespace, "other") is not None
    assert Key("Plans", namespace, "brain") in one.woken


async def test_a_watch_that_tells_nothing_is_noticed_and_made_up_for(
    control_plane: ControlPlane, namespace: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relist, "GRACE", 0.0)
    control_plane.admin.apply(dataset(namespace))
    one = Comparison(api, namespace)
    await one.relist.fill()
    control_plane.admin.apply(dataset(namespace, rerun="2"))  # an edit
    control_plane.admin.apply(plans(namespace))  # and a new object
    await one.relist.compare()
    assert one.relist.behind == {"Dataset", "Plans"}
    assert not one.relist.fresh
    found = one.cache.get("Dataset", namespace, "brain")
    assert found is not None
    assert found["spec"]["rerun"] == "2"
    assert one.woken == {Key("Dataset", namespace, "brain"), Key("Plans", namespace, "brain")}
    await one.relist.compare()
    assert one.relist.fresh


async def test_what_came_and_went_between_two_looks_makes_no_watch_suspect(
    control_plane: ControlPlane, namespace: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Comparison(api, namespace)
    await one.relist.fill()
    made = control_plane.admin.apply(dataset(namespace))

    async def meanwhile(_: float) -> None:
        control_plane.admin.delete(made)

    monkeypatch.setattr(relist.asyncio, "sleep", meanwhile)
    await one.relist.compare()
    assert one.relist.fresh
    assert one.cache.get("Dataset", namespace, "brain") is None


@pytest.mark.parametrize("code", [410, 429, 500, 503])
async def test_a_first_list_that_was_interrupted_is_made_anew(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lists: list[str] = []

    class Interrupted:
        async def pages(self, kind: ApiKind, _: str | None) -> AsyncIterator[Manifest]:
            item = {"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"}, "spec": {}}
            yield {"metadata": {"resourceVersion": "1", "continue": "x"}, "items": [item] if kind.kind == "Job" else []}
            lists.append(kind.kind)
            if len(lists) == 2:
                raise ApiError(code, "Interrupted", "the provided continue parameter is too old")

    async def at_once(_: float) -> None:
        pass

    monkeypatch.setattr(relist.asyncio, "sleep", at_once)
    cache = ObjectCache()
    await Relist(cast(Api, Interrupted()), cache, (), 60, lambda _: None).fill()
    assert len(lists) == 2 + len(WATCHED)
    assert [key.name for key in cache.keys("Job")] == ["a"]
