"""Comparisons with a cluster whose versions are no numbers, or have gone back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from nnunet_operator.cluster.api.kinds import ApiKind
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.cache.versions import WentBack
from nnunet_operator.cluster.watch import relist
from nnunet_operator.cluster.watch.relist import Relist
from nnunet_operator.reconcile.view import Key
from support.apiclient import Manifest

from ..conftest import dataset

KEY = Key("Dataset", "ns", "brain")


class Cluster:
    """Lists Datasets, and nothing else, at a version of the whole."""

    def __init__(self, version: str, *items: Manifest) -> None:
        self.version, self.items = version, list(items)

    async def pages(self, kind: ApiKind, scope: str | None, *, metadata_only: bool = False) -> AsyncIterator[Manifest]:
        yield {"metadata": {"resourceVersion": self.version}, "items": self.items if kind.kind == "Dataset" else []}

    async def get(self, kind: ApiKind, namespace: str, name: str) -> Manifest | None:
        return next((item for item in self.items if item["metadata"]["name"] == name), None)


def stored(version: str, uid: str = "one", name: str = "brain") -> Manifest:
    manifest = dataset("ns", name)
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid, "resourceVersion": version}}


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relist, "GRACE", 0.0)


async def filled(cluster: Cluster) -> tuple[Relist, ObjectCache]:
    cache = ObjectCache()
    found = Relist(cluster, cache, (), 60, lambda _: None)  # type: ignore[arg-type]
    await found.fill()
    return found, cache


@pytest.mark.parametrize(
    ("first", "then", "item", "back"),
    [
        ("100", "100", "50", False),
        ("100", "101", "50", False),
        ("100", "99", "50", True),  # the list itself
        ("100", "40", "30", True),
        ("a", "b", "50", False),  # what cannot be compared proves nothing
        ("100", "b", "50", False),
    ],
)
async def test_a_list_that_is_older_than_the_last_one_ends_the_operator(first: str, then: str, item: str, back: bool) -> None:
    cluster = Cluster(first, stored("50"))
    found, _ = await filled(cluster)
    cluster.version, cluster.items = then, [stored(item)]
    if back:
        with pytest.raises(WentBack, match="went back in time"):
            await found.compare()
    else:
        await found.compare()


async def test_a_list_that_is_older_than_an_object_that_was_seen_since_ends_the_operator() -> None:
    cluster = Cluster("100", stored("50"))
    found, cache = await filled(cluster)
    cache.put(stored("200"))  # by a watch, or by our own write
    cluster.version = "150"
    with pytest.raises(WentBack):
        await found.compare()


async def test_a_cluster_without_any_object_can_go_back_too() -> None:
    cluster = Cluster("100")
    found, _ = await filled(cluster)
    cluster.version = "3"
    with pytest.raises(WentBack):
        await found.compare()


@pytest.mark.parametrize(("known", "listed"), [("5", "6"), ("a", "b"), ("5", "b"), ("a", "6")])
async def test_what_no_watch_told_is_read_whatever_versions_look_like(known: str, listed: str) -> None:
    cluster = Cluster("x", stored(known))
    found, cache = await filled(cluster)
    cluster.items = [stored(listed)]
    await found.compare()
    assert cache.version(KEY) == listed
    assert found.behind == {"Dataset"}
    await found.compare()
    assert found.behind == frozenset()


@pytest.mark.parametrize("version", ["5", "a"])
async def test_what_is_gone_is_forgotten_and_a_namesake_is_not_taken_for_it(version: str) -> None:
    cluster = Cluster("x", stored(version), stored(version, uid="two", name="other"))
    found, cache = await filled(cluster)
    cluster.items = [stored("b" if version == "a" else "6", uid="three", name="other")]
    await found.compare()
    assert cache.version(KEY) is None
    other: Any = cache.get("Dataset", "ns", "other")
    assert other["metadata"]["uid"] == "three"
