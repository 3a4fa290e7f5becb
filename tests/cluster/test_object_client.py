"""What an Outcome becomes, against the real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nnunet_operator.cluster.api.client import Api
from nnunet_operator.cluster.api.errors import ApiError, NotLeading
from nnunet_operator.cluster.api.kubeconfig import connect
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.object_client import UNANSWERED, CachedApi, merge_patch
from nnunet_operator.controller.carry_out import ChildRefused, carry_out
from nnunet_operator.controller.events import EventRecorder
from nnunet_operator.controller.object_client import Outdated
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.outcome import Delete, Event, Outcome
from nnunet_operator.reconcile.view import Key
from support.apiclient import Manifest
from support.controlplane import ControlPlane

from .conftest import API_VERSION, dataset, plans

pytestmark = pytest.mark.controlplane


class Bench:
    """A Dataset in the cluster and a client beside it."""

    def __init__(self, plane: ControlPlane, namespace: str, api: Api) -> None:
        self.admin, self.namespace, self.api, self.cache = plane.admin, namespace, api, ObjectCache()
        self.about = self.admin.apply(dataset(namespace))
        self.cache.put(self.about)
        self.client = CachedApi(api, self.cache)
        self.recorder = EventRecorder(self.client, "tests", UNANSWERED)
        self.writes = 0
        self._request, api.request = api.request, self._counted  # type: ignore[method-assign]

    async def _counted(self, method: str, *args: object, **more: object) -> object:
        self.writes += method != "GET"
        return await self._request(method, *args, **more)  # type: ignore[arg-type]

    async def carry_out(self, **outcome: object) -> bool:
        about = self.cache.get("Dataset", self.namespace, "brain")
        assert about is not None
        status = outcome.pop("status", about.get("status") or {})
        done = await carry_out(self.client, self.recorder, about, Outcome(status=status, **outcome))  # type: ignore[arg-type]
        return done.children_changed

    def child(self, kind: str, name: str = "child", **more: object) -> Manifest:
        meta = self.about["metadata"]
        labels = {
            names.MANAGED_BY: names.MANAGER,
            names.OWNER_KIND: "Dataset",
            names.OWNER_NAME: "brain",
            names.OWNER_UID: meta["uid"],
        }
        version = {"Job": "batch/v1", "Plans": API_VERSION}.get(kind, "v1")
        owner = {"apiVersion": API_VERSION, "kind": "Dataset", "name": "brain", "uid": meta["uid"], "controller": True}
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels, "ownerReferences": [owner]},
            **more,
        }

    def job(self) -> Manifest:
        pod = {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "none"}]}
        return self.child("Job", spec={"suspend": True, "template": {"spec": pod}})


@pytest.fixture
async def bench(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Bench]:
    api = await connect(control_plane.kubeconfig)
    yield Bench(control_plane, namespace, api)
    await api.close()


def status(message: str) -> Manifest:
    ready = {"type": "Ready", "status": "False", "reason": "Testing", "message": message}
    return {"observedGeneration": 1, "conditions": [{**ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}


async def test_a_status_is_written_once_and_whole(bench: Bench) -> None:
    await bench.carry_out(status={**status("one"), "cases": 7})
    await bench.carry_out(status={**status("one"), "cases": 7, "fingerprint": None})
    assert bench.writes == 1
    await bench.carry_out(status=status("two"))
    found = bench.admin.get(API_VERSION, "Dataset", bench.namespace, "brain")
    assert found is not None
    assert found["status"] == status("two")  # what is not wanted any more is gone


async def test_what_the_server_drops_is_not_written_again_and_again(bench: Bench) -> None:
    for _ in range(3):
        await bench.carry_out(status={**status("one"), "notInTheSchema": 1})
    assert bench.writes == 1


async def test_a_status_never_reaches_a_successor_of_the_same_name(bench: Bench) -> None:
    bench.admin.delete(bench.about)
    bench.admin.apply(dataset(bench.namespace))
    with pytest.raises(Outdated):
        await bench.carry_out(status=status("of the dead"))
    found = bench.admin.get(API_VERSION, "Dataset", bench.namespace, "brain")
    assert found is not None
    assert "status" not in found
    bench.admin.delete(bench.about)
    await bench.carry_out(status=status("of the dead"))
    assert bench.admin.get(API_VERSION, "Dataset", bench.namespace, "brain") is None


async def test_a_write_that_conflicts_succeeds_once_the_object_was_read_again(bench: Bench) -> None:
    bench.admin.patch(bench.about, {"metadata": {"labels": {"team": "a"}}})  # and no watch tells
    for _ in range(2):
        with pytest.raises(Outdated):
            await bench.carry_out(status=status("one"))
    await bench.client.read_again(Key("Dataset", bench.namespace, "brain"))
    await bench.carry_out(status=status("one"))
    found = bench.admin.get(API_VERSION, "Dataset", bench.namespace, "brain")
    assert found is not None
    assert found["status"] == status("one")
    bench.admin.delete(bench.about)
    await bench.client.read_again(Key("Dataset", bench.namespace, "brain"))
    assert len(bench.cache) == 0


JSON = st.recursive(
    st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner),
)
STATUS = st.dictionaries(st.sampled_from("abc"), JSON)


def merged(target: Manifest, patch: Manifest) -> Manifest:
    """RFC 7386, as it is written there."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result


@given(STATUS, STATUS)
@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_patch_makes_the_stored_status_the_wanted_one(stored: Manifest, wanted: Manifest) -> None:
    assert merged(stored, merge_patch(stored, wanted)) == wanted
    assert merge_patch(wanted, wanted) == {}


async def test_children_are_made_once_and_known_at_once(bench: Bench) -> None:
    children = {"apply": [bench.child("ConfigMap", data={"a": "b"})], "create": [bench.job()]}
    assert await bench.carry_out(**children)
    assert bench.cache.get("Job", bench.namespace, "child") is not None
    assert not await bench.carry_out(**children)
    assert bench.writes == 2
    # After a restart nothing is known: the server says that they are there, and that is fine.
    bench.cache.remove(bench.admin.get("batch/v1", "Job", bench.namespace, "child"))  # type: ignore[arg-type]
    assert await bench.carry_out(**children)
    assert bench.cache.get("Job", bench.namespace, "child") is not None


async def test_a_job_of_someone_else_is_not_taken(bench: Bench) -> None:
    foreign = bench.job()
    del foreign["metadata"]["ownerReferences"]  # its labels anybody may write
    bench.admin.create(foreign)
    with pytest.raises(ChildRefused, match="child"):
        await bench.carry_out(create=[bench.job()])


async def test_plans_of_a_person_are_not_taken_over(bench: Bench) -> None:
    theirs = bench.admin.apply(plans(bench.namespace, "child", of="theirs"))
    with pytest.raises(ApiError, match="409"):
        await bench.carry_out(apply=[bench.child("Plans", spec=plans(bench.namespace)["spec"])])
    found = bench.admin.get(API_VERSION, "Plans", bench.namespace, "child")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]


async def test_only_the_very_object_is_deleted(bench: Bench) -> None:
    await bench.carry_out(create=[bench.job()])
    await bench.carry_out(delete=[Delete("Job", "child", "another-uid"), Delete("ConfigMap", "never-there", "")])
    found = bench.admin.get("batch/v1", "Job", bench.namespace, "child")
    assert found is not None
    assert await bench.carry_out(delete=[Delete("Job", "child", found["metadata"]["uid"])])
    assert bench.admin.get("batch/v1", "Job", bench.namespace, "child") is None
    assert bench.cache.get("Job", bench.namespace, "child") is None
    assert not bench.cache.put(found)  # a late event


async def test_without_the_lease_nothing_is_written(bench: Bench) -> None:
    bench.api.may_write = lambda: False
    with pytest.raises(NotLeading):
        await bench.carry_out(create=[bench.job()])
    with pytest.raises(NotLeading):
        await bench.carry_out(status=status("one"))
    assert bench.writes == 0


async def test_an_event_is_said_once_until_it_happens_again(bench: Bench) -> None:
    event = Event(reason="Testing", message=f"at {datetime.now(UTC).year}")
    for events in ([event, event], [event], []):
        await bench.carry_out(events=events)
    await EventRecorder(bench.client, "after a restart").record(bench.about, [event])
    [found] = bench.admin.list("v1", "Event", bench.namespace)
    assert (found["reason"], found["count"], found["involvedObject"]["name"]) == ("Testing", 1, "brain")
    await bench.carry_out(events=[event])
    [found] = bench.admin.list("v1", "Event", bench.namespace)
    assert found["count"] == 2


@pytest.mark.parametrize("told", ["before", "after"])
async def test_a_deletion_is_logged_whenever_the_watch_tells_of_it(
    bench: Bench, caplog: pytest.LogCaptureFixture, told: str
) -> None:
    """Before the API server has answered, or after."""
    await bench.carry_out(apply=[bench.job()])
    known = bench.cache.get("Job", bench.namespace, "child")
    assert known is not None
    delete = bench.api.delete

    async def deleted(*arguments: object) -> object:
        answer = await delete(*arguments)  # type: ignore[arg-type]
        if told == "before":
            bench.cache.remove(known)
        return answer

    bench.api.delete = deleted  # type: ignore[method-assign,assignment]
    with caplog.at_level("INFO"):
        await bench.carry_out(delete=[Delete("Job", "child", known["metadata"]["uid"])])
    assert caplog.messages.count("deleted Job child") == 1
    assert bench.cache.get("Job", bench.namespace, "child") is None


async def test_an_object_whose_time_is_over_is_deleted(bench: Bench) -> None:
    await bench.carry_out(delete_self=True)
    assert bench.admin.get(API_VERSION, "Dataset", bench.namespace, "brain") is None
