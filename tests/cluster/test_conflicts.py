"""Status writes that the API server refuses because of a newer version: counted, backed off, and read anew when they repeat."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from nnunet_operator.cluster.api.errors import ApiError
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.monitoring import metrics
from nnunet_operator.cluster.object_client import CachedApi
from nnunet_operator.cluster.work_queue import WorkQueue
from nnunet_operator.cluster.workers import Workers
from nnunet_operator.controller.object_client import Outdated
from nnunet_operator.controller.one_pass import Passed
from nnunet_operator.reconcile.view import Key
from support.apiclient import Manifest

from .conftest import dataset

KEY = Key("Dataset", "ns", "brain")


def stored(version: str, uid: str = "one") -> Manifest:
    manifest = dataset("ns")
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid, "resourceVersion": version}}


class Server:
    """An API server that has one object, or none."""

    def __init__(self, found: Manifest | None) -> None:
        self.found, self.reads = found, 0

    async def get(self, *_: Any) -> Manifest | None:
        self.reads += 1
        return self.found

    async def merge(self, *_: Any, **__: Any) -> Manifest:
        raise ApiError(409, "Conflict", "the object has been modified")


class Passes:
    """Passes that conflict so often, and then go well."""

    def __init__(self, conflicts: int) -> None:
        self.conflicts = conflicts

    async def pass_over(self, key: Key, now: datetime, heard: Any) -> Passed:
        assert now.tzinfo is UTC
        self.conflicts -= 1
        if self.conflicts >= 0:
            raise Outdated("newer")
        return Passed()


def counted() -> float:
    return metrics.conflicts.labels("Dataset")._value.get()


async def test_the_first_waits_for_the_watch_and_the_next_ones_read_anew_and_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, asked, before = WorkQueue[Key](), [], counted()
    delays: list[float] = []
    monkeypatch.setattr(queue, "add_after", lambda _, seconds: delays.append(seconds))
    monkeypatch.setattr("nnunet_operator.cluster.work_queue.random.uniform", lambda *_: 1.0)

    async def read_again(key: Key) -> None:
        asked.append(key)

    cache = ObjectCache()
    cache.put(stored("5"))
    workers = Workers(cache, queue, Passes(4), {}, lambda: datetime.now(UTC), read_again=read_again)  # type: ignore[arg-type]
    for _ in range(4):
        await workers._reconcile(KEY)
    assert counted() - before == 4
    assert delays == [0.5, 1, 2, 4]
    assert asked == [KEY] * 3
    await workers._reconcile(KEY)
    assert queue.failures(KEY) == 0  # it went well: the next conflict is a first one


@pytest.mark.parametrize(
    ("known", "found", "version", "suspicious"),
    [
        ("5", "6", "6", False),  # its watch is late
        ("5", "5", "5", False),  # it conflicted with something else
        ("5", "4", "5", True),  # the cluster is older than it was
        ("a", "b", "b", False),  # what cannot be compared: the server is right
        ("5", None, None, False),  # it is gone
    ],
)
async def test_what_is_read_again_is_taken_as_it_is(known: str, found: str | None, version: str | None, suspicious: bool) -> None:
    cache, suspected = ObjectCache(), []
    cache.put(stored(known))
    server = Server(stored(found) if found else None)
    client = CachedApi(server, cache, lambda: suspected.append(1))  # type: ignore[arg-type]
    await client.read_again(KEY)
    assert server.reads == 1
    assert cache.version(KEY) == version
    assert bool(suspected) is suspicious


async def test_a_refused_status_write_is_outdated() -> None:
    cache = ObjectCache()
    cache.put(stored("5"))
    with pytest.raises(Outdated):
        await CachedApi(Server(None), cache).write_status(stored("5"), {"observedGeneration": 1})  # type: ignore[arg-type]


class Altering:
    """A server that stores of a status only the fields that it knows."""

    def __init__(self, *known: str) -> None:
        self._known, self.writes = known, 0

    async def merge(self, kind: object, namespace: str, name: str, patch: Manifest, *, sub: str) -> Manifest:
        self.writes += 1
        kept = {field: value for field, value in patch["status"].items() if field in self._known}
        return {**stored("6"), "status": kept}


@pytest.mark.parametrize(("known", "as_wanted"), [(("cases", "message"), True), (("cases",), False)])
async def test_a_status_that_the_server_alters_is_written_once_and_counts_as_not_stored(
    known: tuple[str, ...], as_wanted: bool
) -> None:
    cache, server, wanted = ObjectCache(), Altering(*known), {"cases": 1, "message": "read"}
    cache.put(stored("5"))
    client = CachedApi(server, cache)  # type: ignore[arg-type]
    for _ in range(2):
        about = cache.get(*KEY)
        assert about is not None
        assert await client.write_status(about, wanted) is as_wanted
    assert server.writes == 1
    assert not client.own_writes.without(event("6"))
    assert client.own_writes.without(event("7"))


def event(version: str) -> bytes:
    """The event of a change, as a watch tells it."""
    changed = json.dumps(stored(version), separators=(",", ":"), sort_keys=True)
    return f'{{"type":"MODIFIED","object":{changed}}}\n'.encode()
