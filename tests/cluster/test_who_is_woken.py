"""What a pass has written is known from the answers: its events are no news, so the pass itself wakes whom that concerns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from nnunet_operator.cluster.api.errors import ApiError, NotLeading
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.work_queue import WorkQueue
from nnunet_operator.cluster.workers import Workers
from nnunet_operator.controller.object_client import Outdated, key_of
from nnunet_operator.controller.one_pass import Passed
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.view import Key
from support.apiclient import Manifest

from .conftest import API_VERSION, plans, training_run


def stored(manifest: Manifest, version: int) -> Manifest:
    meta = manifest["metadata"]
    return {**manifest, "metadata": {**meta, "uid": f"uid-{meta['name']}", "resourceVersion": str(version), "generation": 1}}


PLANS, RUN = plans("ns"), training_run("ns")
TRANSFER: Manifest = {
    "apiVersion": API_VERSION, "kind": "PlanTransfer", "metadata": {"name": "moved", "namespace": "ns"},
    "spec": {"plansName": "moved", "from": {"plansRef": PLANS["metadata"]}, "to": {"datasetRef": {"name": "other"}}},
}  # fmt: skip
LABELS = {
    names.MANAGED_BY: names.MANAGER, names.OWNER_KIND: "PlanTransfer", names.OWNER_NAME: "moved", names.OWNER_UID: "uid-moved"
}  # fmt: skip
MOVED: Manifest = {
    "apiVersion": API_VERSION, "kind": "Plans", "metadata": {"name": "moved", "namespace": "ns", "labels": LABELS},
    "spec": {"datasetRef": {"name": "other"}, "transferFrom": {"plansRef": PLANS["metadata"]}},
}  # fmt: skip
DOWNSTREAM = {key_of(RUN), key_of(TRANSFER)}


class Pass:
    """A pass that does something to the cache, as answers do, and then goes well or wrong."""

    def __init__(self, does: Callable[[], object], error: Exception | None) -> None:
        self._does, self._error = does, error

    async def pass_over(self, *_: object) -> Passed:
        self._does()
        if self._error is not None:
            raise self._error
        return Passed()


@pytest.fixture
def cache() -> ObjectCache:
    found = ObjectCache()
    for manifest in (PLANS, RUN, TRANSFER):
        found.put(stored(manifest, 1))
    return found


async def woken(cache: ObjectCache, key: Key, does: Callable[[], object], error: Exception | None = None) -> set[Key]:
    """Whom a pass over an object wakes at once."""
    queue = WorkQueue[Key]()
    await workers(cache, queue, Pass(does, error))._reconcile(key)
    return await waiting(queue)


def workers(cache: ObjectCache, queue: WorkQueue[Key], a_pass: Pass, again: Callable[[], object] = lambda: None) -> Workers:
    """Workers that make such a pass, and read an object again so."""

    async def read_again(_: Key) -> None:
        again()

    return Workers(cache, queue, a_pass, {}, lambda: datetime.now(UTC), read_again=read_again)  # type: ignore[arg-type]


async def waiting(queue: WorkQueue[Key]) -> set[Key]:
    """What is to be looked at without a delay."""
    queue.close()
    return {await queue.get() for _ in range(len(queue))}


ERRORS = [None, ApiError(500, "", ""), OSError("no route"), NotLeading(), Outdated("newer"), ValueError("a bug")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_a_status_that_was_written_wakes_who_refers_to_it_also_where_what_follows_goes_wrong(
    cache: ObjectCache, error: Exception | None
) -> None:
    assert await woken(cache, key_of(PLANS), lambda: cache.put(stored(PLANS, 2)), error) == DOWNSTREAM
    assert await woken(cache, key_of(PLANS), lambda: None, error) == set()


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("known", [False, True], ids=["made", "changed"])
async def test_plans_that_a_transfer_has_applied_are_looked_at(cache: ObjectCache, known: bool, error: Exception | None) -> None:
    if known:
        cache.put(stored(MOVED, 1))
    assert await woken(cache, key_of(TRANSFER), lambda: cache.put(stored(MOVED, 2)), error) == {key_of(MOVED)}
    assert not cache.change(stored(MOVED, 2)), "its event is no news"


async def test_an_object_that_deletes_itself_wakes_who_refers_to_it(cache: ObjectCache) -> None:
    assert await woken(cache, key_of(PLANS), lambda: cache.remember_deleted(stored(PLANS, 1))) == DOWNSTREAM


@pytest.mark.parametrize("gone", [False, True], ids=["newer", "gone"])
async def test_what_is_read_again_wakes_who_refers_to_it(cache: ObjectCache, gone: bool) -> None:
    def again() -> None:
        cache.remember_deleted(stored(PLANS, 1)) if gone else cache.put(stored(PLANS, 2))

    queue = WorkQueue[Key]()
    conflicting = workers(cache, queue, Pass(lambda: None, Outdated("newer")), again)
    await conflicting._reconcile(key_of(PLANS))
    assert len(queue) == 0, "its watch is waited for"
    await conflicting._reconcile(key_of(PLANS))
    assert await waiting(queue) == DOWNSTREAM
