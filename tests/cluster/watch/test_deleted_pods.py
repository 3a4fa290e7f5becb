"""Deleted pods are remembered as long as their Job is there, and no longer."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.cluster.watch.cache import ObjectCache
from nnunet_operator.cluster.watch.deleted_pods import DeletedPods
from nnunet_operator.reconcile.view import Key, Manifest

from ..conftest import dataset
from .test_cache import child, stored


def pod_of(job: Manifest, name: str, version: int, **owner: Any) -> Manifest:
    reference = {"apiVersion": "batch/v1", "kind": "Job", "uid": job["metadata"]["uid"], "controller": True, **owner}
    meta = {**job["metadata"], "name": name, "ownerReferences": [reference], "deletionTimestamp": "2026-11-01T12:05:00Z"}
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


@pytest.mark.parametrize("owner", [{"uid": "another"}, {"controller": False}, {"kind": "Plans"}])
def test_only_of_a_job_that_controls_it(cache: ObjectCache, job: Manifest, owner: dict[str, Any]) -> None:
    cache.remember_deleted(pod_of(job, "pod", 5, **owner))
    assert cache.deleted_pods(job["metadata"]["uid"]) == []
    assert cache.deleted_pods("another") == []


def test_a_pod_without_a_job_is_forgotten(cache: ObjectCache, job: Manifest) -> None:
    cache.remember_deleted(job)
    cache.remember_deleted(pod_of(job, "pod", 5))
    assert cache.deleted_pods(job["metadata"]["uid"]) == []


def test_memory_is_bounded(job: Manifest) -> None:
    kept = DeletedPods(most=3)
    for number in range(5):
        kept.keep(pod_of(job, f"pod-{number}", number))
    kept.keep(pod_of(job, "pod-4", 9))
    assert len(kept) == 3
    assert [pod["metadata"]["name"] for pod in kept.of(job["metadata"]["uid"])] == ["pod-2", "pod-3", "pod-4"]
    kept.forget(job["metadata"]["uid"])
    kept.forget(job["metadata"]["uid"])
    assert len(kept) == 0
