"""Deleted pods are remembered as long as their Job is there, deleted Jobs as long as their owner is, and no longer."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.cluster.cache.deleted_children import DeletedChildren
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.reconcile.view import Key, Manifest

from ..conftest import dataset
from .test_object_cache import child, stored


def pod_of(job: Manifest, name: str, version: int, /, **owner: Any) -> Manifest:
    meta = job["metadata"]
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True, **owner}
    meta = {**meta, "name": name, "ownerReferences": [reference], "deletionTimestamp": "2026-11-01T12:05:00Z"}
    status = {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]}
    spec = {"nodeName": "node-a", "containers": [{"name": "trainer", "image": "large"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}
    return stored(pod, version, uid=f"uid-{name}")


@pytest.fixture
def job() -> Manifest:
    return child(stored(dataset("ns"), 1), "job", 2)


@pytest.fixture
def cache(job: Manifest) -> ObjectCache:
    cache = ObjectCache()
    cache.put(stored(dataset("ns"), 1))
    cache.put(job)
    return cache


@pytest.mark.parametrize("seen_before", [False, True])
def test_its_last_state_is_kept_until_its_job_goes(cache: ObjectCache, job: Manifest, seen_before: bool) -> None:
    pod = pod_of(job, "pod", 5)
    if seen_before:
        cache.put({**pod_of(job, "pod", 3), "status": {"phase": "Running"}})
    cache.remember_deleted(pod)
    assert cache.get("Pod", "ns", "pod") is None
    assert not cache.put(pod_of(job, "pod", 4)), "a late event does not bring it back"
    (kept,) = cache.deleted_pods(job["metadata"]["uid"])
    assert kept["status"] == pod["status"]
    assert kept["metadata"]["labels"] == pod["metadata"]["labels"]
    assert kept["spec"] == {"nodeName": "node-a"}, "no more than what is read of it"
    cache.remember_deleted(job)
    assert cache.deleted_pods(job["metadata"]["uid"]) == []
    assert cache.affected_by(job) == {Key("Dataset", "ns", "brain")}


@pytest.mark.parametrize(
    "owner", [{"uid": "another"}, {"controller": False}, {"kind": "Plans"}, {"name": "another"}, {"apiVersion": "example.com/v1"}]
)
def test_only_of_a_job_that_controls_it(cache: ObjectCache, job: Manifest, owner: dict[str, Any]) -> None:
    cache.remember_deleted(pod_of(job, "pod", 5, **owner))
    assert cache.deleted_pods(job["metadata"]["uid"]) == []
    assert cache.deleted_pods("another") == []


@pytest.mark.parametrize("theirs", [False, True])
def test_a_pod_of_another_namespace_is_none_of_a_job(cache: ObjectCache, job: Manifest, theirs: bool) -> None:
    """Whatever it names as its controller; also where the neighbour has a Job of that name, or of the labels."""
    if theirs:
        cache.put({**job, "metadata": {**job["metadata"], "namespace": "neighbour", "uid": "theirs"}})
    pod = pod_of(job, "pod", 5)
    cache.remember_deleted({**pod, "metadata": {**pod["metadata"], "namespace": "neighbour"}})
    assert cache.deleted_pods(job["metadata"]["uid"]) == []


def test_a_pod_without_a_job_is_forgotten(cache: ObjectCache, job: Manifest) -> None:
    cache.remember_deleted(job)
    cache.remember_deleted(pod_of(job, "pod", 5))
    assert cache.deleted_pods(job["metadata"]["uid"]) == []


def controlled(owner: Manifest, name: str, /, **changes: Any) -> Manifest:
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
    reference |= {"uid": owner["metadata"]["uid"], "controller": True, **changes}
    job = child(owner, name, 2)
    job["metadata"]["ownerReferences"] = [reference]
    volumes = [{"name": "order", "configMap": {"name": f"{name}-0123456789"}}]
    job["spec"] = {"template": {"spec": {"volumes": volumes, "containers": [{"image": "large"}]}}}
    return job


def test_a_job_that_another_deletes_is_kept_until_its_owner_goes(cache: ObjectCache) -> None:
    owner = stored(dataset("ns"), 1)
    cache.put(gone := controlled(owner, "gone"))
    cache.remember_deleted(gone)
    (kept,) = cache.deleted_jobs(owner["metadata"]["uid"])
    assert kept["spec"]["template"]["spec"] == {"volumes": gone["spec"]["template"]["spec"]["volumes"]}, "what it is read for"
    cache.remember_deleted(owner)
    assert cache.deleted_jobs(owner["metadata"]["uid"]) == []


def test_one_that_we_delete_is_not_kept_nor_what_is_told_of_it_later(cache: ObjectCache) -> None:
    owner = stored(dataset("ns"), 1)
    cache.put(gone := controlled(owner, "gone"))
    cache.remember_deleted(gone, by_us=True)
    cache.remember_deleted(gone)
    assert cache.deleted_jobs(owner["metadata"]["uid"]) == []


@pytest.mark.parametrize("changes", [{"controller": False}, {"uid": "another"}, {"kind": "Plans"}, {"name": "another"}])
def test_nor_one_that_only_looks_like_a_child(cache: ObjectCache, changes: dict[str, Any]) -> None:
    owner = stored(dataset("ns"), 1)
    cache.put(forged := controlled(owner, "forged", **changes))
    cache.remember_deleted(forged)
    assert not any(cache.deleted_jobs(uid) for uid in (owner["metadata"]["uid"], "another"))


def test_memory_is_bounded(job: Manifest) -> None:
    kept = DeletedChildren(most=3)
    for number in range(5):
        kept.keep(pod_of(job, f"pod-{number}", number))
    kept.keep(pod_of(job, "pod-4", 9))
    assert len(kept) == 3
    assert [pod["metadata"]["name"] for pod in kept.of(job["metadata"]["uid"])] == ["pod-2", "pod-3", "pod-4"]
    kept.forget(job["metadata"]["uid"])
    kept.forget(job["metadata"]["uid"])
    assert len(kept) == 0


def test_what_is_told_as_deleted_twice_is_kept_once(job: Manifest) -> None:
    """Also where it had another controller by then: one that was orphaned and adopted."""
    kept = DeletedChildren()
    kept.keep(pod_of(job, "pod", 1))
    kept.keep(pod_of(job, "pod", 2, uid="another"))
    assert (len(kept), len(kept.of(job["metadata"]["uid"])), kept.of("another")) == (1, 1, [])
    kept.forget("another")
    kept.forget(job["metadata"]["uid"])
    assert len(kept) == 0


def test_what_one_namespace_deletes_costs_another_nothing(job: Manifest) -> None:
    kept = DeletedChildren(most=4)
    kept.keep(pod_of(job, "ours", 1))
    theirs = {**job, "metadata": {**job["metadata"], "namespace": "neighbour", "uid": "theirs"}}
    for number in range(20):
        kept.keep(pod_of(theirs, f"pod-{number}", number))
    assert [pod["metadata"]["name"] for pod in kept.of(job["metadata"]["uid"])] == ["ours"]
    assert [pod["metadata"]["name"] for pod in kept.of("theirs")] == ["pod-17", "pod-18", "pod-19"]
    kept.forget("theirs")
    assert len(kept) == 1
