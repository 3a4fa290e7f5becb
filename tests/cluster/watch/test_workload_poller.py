"""What Kueue says of waiting Jobs is read while one waits, of the Job's own Workload, and only news wakes anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from nnunet_operator.cluster.api.errors import ApiError
from nnunet_operator.cluster.api.kinds import ApiKind
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.watch.workload_poller import WorkloadPoller
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.view import Key, Manifest

OWNER = Key("Dataset", "team", "brain")


class Server:
    """Workloads, by namespace; the errors that an API server answers with."""

    def __init__(self) -> None:
        self.workloads: dict[str, list[Manifest]] = {"team": []}
        self.asked: list[tuple[str, str]] = []
        self.refuses: ApiError | None = None

    async def request(self, method: str, path: str) -> Any:
        self.asked.append((method, path))
        if self.refuses is not None:
            raise self.refuses
        return {"preferredVersion": {"version": "v1beta7"}}

    async def pages(self, kind: ApiKind, namespace: str) -> AsyncIterator[Manifest]:
        self.asked.append(("GET", kind.path(namespace)))
        for workload in self.workloads[namespace]:
            yield {"items": [workload]}


def job(name: str = "brain-0", namespace: str = "team", *, queue: bool = True, suspend: bool = True) -> Manifest:
    labels = {names.MANAGED_BY: names.MANAGER} | ({names.QUEUE: "gpus"} if queue else {})
    owner = {"apiVersion": "nnunet.dev/v1alpha1", "kind": OWNER.kind, "name": OWNER.name, "uid": "o", "controller": True}
    meta = {"name": name, "namespace": namespace, "uid": f"uid of {name}", "resourceVersion": "1", "labels": labels}
    spec = {"suspend": suspend}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**meta, "ownerReferences": [owner]}, "spec": spec}


def workload(of: Manifest, message: str, **owner: Any) -> Manifest:
    meta = of["metadata"]
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True, **owner}
    condition = {"type": "QuotaReserved", "status": "False", "message": message, "lastTransitionTime": "now"}
    return {
        "metadata": {"name": "w", "namespace": meta["namespace"], "ownerReferences": [reference]},
        "spec": {"active": True, "podSets": ["long"]},
        "status": {"conditions": [condition]},
    }


class Reader:
    """A poller of a server, and whom it woke."""

    def __init__(self, *jobs: Manifest) -> None:
        self.server, self.cache, self.woken = Server(), ObjectCache(), []
        for one in jobs:
            self.cache.put(one)
        self.poller = WorkloadPoller(self.server, self.cache, 0, self.wake)  # type: ignore[arg-type]

    def wake(self, keys: Iterable[Key]) -> None:
        self.woken += list(keys)

    def read(self) -> list[Key]:
        """Read once; whom that woke."""
        self.woken.clear()
        asyncio.run(self.poller.read())
        return list(self.woken)

    def said(self, of: Manifest) -> str | None:
        found = self.poller.found.get(of["metadata"]["uid"])
        return found["status"]["conditions"][0]["message"] if found else None


def test_news_wakes_the_owner_once() -> None:
    waiting = job()
    reader = Reader(waiting)
    reader.server.workloads["team"] = [workload(waiting, "no quota")]
    assert reader.read() == [OWNER]
    assert reader.said(waiting) == "no quota"
    assert reader.server.asked[-1] == ("GET", "/apis/kueue.x-k8s.io/v1beta7/namespaces/team/workloads")
    assert "podSets" not in str(reader.poller.found), "pod templates are long, and nobody's business here"
    assert reader.read() == []
    reader.server.workloads["team"] = [workload(waiting, "less quota")]
    assert reader.read() == [OWNER]
    reader.server.workloads["team"] = []
    assert reader.read() == [OWNER]
    assert reader.said(waiting) is None


@pytest.mark.parametrize("other", [job(suspend=False), job(queue=False)], ids=["admitted", "in no queue"])
def test_nothing_is_asked_while_nobody_waits(other: Manifest) -> None:
    reader = Reader(other)
    assert reader.read() == []
    assert reader.server.asked == []


@pytest.mark.parametrize(
    "forged",
    [
        workload(job(), "forged", controller=False),
        workload(job(), "forged", uid="another"),
        workload(job(), "forged", apiVersion="example.com/v1"),
        workload(job(), "forged", kind="JobSet"),
    ],
    ids=["not its controller", "of a namesake", "of another group", "of another kind"],
)
def test_a_workload_of_somebody_else_says_nothing(forged: Manifest) -> None:
    reader = Reader(job())
    reader.server.workloads["team"] = [forged]
    assert reader.read() == []
    assert reader.poller.found == {}


def test_a_workload_of_another_namespace_says_nothing() -> None:
    ours, theirs = job(), job("other", "neighbour")
    reader = Reader(ours, theirs)
    reader.server.workloads["neighbour"] = [workload(ours, "forged")]
    reader.read()
    assert reader.said(ours) is None


def test_an_answer_that_is_an_error_is_said_once_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    waiting = job()
    reader = Reader(waiting)
    reader.server.refuses = ApiError(404, "NotFound", "the server could not find the requested resource")
    reader.server.workloads["team"] = [workload(waiting, "no quota")]

    async def until_read() -> None:
        running = asyncio.create_task(reader.poller.run())
        while len(reader.server.asked) < 3:
            await asyncio.sleep(0)
        reader.server.refuses = None  # Kueue is installed
        while not reader.poller.found:
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(asyncio.wait_for(until_read(), 60))
    assert reader.said(waiting) == "no quota"
    assert [record.levelname for record in caplog.records if "cannot be read" in record.message] == ["WARNING"]
