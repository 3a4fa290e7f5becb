"""The newest version of each object, and whom a change concerns."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.view import Key
from support.apiclient import Manifest

from ..conftest import dataset, plans, training_run


def stored(manifest: Manifest, version: int, uid: str = "", **metadata: object) -> Manifest:
    """As the API server has it."""
    meta = manifest["metadata"]
    return {**manifest, "metadata": {**meta, "uid": uid or f"uid-{meta['name']}", "resourceVersion": str(version), **metadata}}


def child(owner: Manifest, name: str, version: int) -> Manifest:
    meta = owner["metadata"]
    labels = {
        names.MANAGED_BY: names.MANAGER,
        names.OWNER_KIND: owner["kind"],
        names.OWNER_NAME: meta["name"],
        names.OWNER_UID: meta["uid"],
    }
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": meta["namespace"], "labels": labels}}
    return stored(job, version)


def test_the_newest_version_wins_in_whatever_order_they_come() -> None:
    versions = [stored(dataset("ns"), version) for version in (9, 10, 100)]
    for order in itertools.permutations(versions):
        cache = ObjectCache()
        for manifest in order:
            cache.put(manifest)
        assert cache.get("Dataset", "ns", "brain") == versions[-1]


def test_the_same_version_is_no_news() -> None:
    cache = ObjectCache()
    assert cache.put(stored(dataset("ns"), 5))
    assert not cache.put(stored(dataset("ns"), 5))


@pytest.mark.parametrize("versions", [("a", "b"), ("b", "a"), ("7", "a"), ("a", "7"), ("", "7"), ("9x", "8x")])
def test_a_version_that_is_no_number_does_not_freeze_an_object(versions: tuple[str, str]) -> None:
    cache = ObjectCache()
    for version in versions:
        manifest = stored(dataset("ns"), 1)
        manifest["metadata"]["resourceVersion"] = version
        assert cache.put(manifest)
        assert not cache.put(manifest)
        assert cache.version(Key("Dataset", "ns", "brain")) == version


def job(owner: Manifest, version: int, **more: Any) -> Manifest:
    return {**child(owner, "job", version), "spec": {"template": {"spec": {"containers": [{}]}}}, **more}


@pytest.mark.parametrize(
    ("status", "concerns"),
    [
        ({"active": 1, "ready": 0, "uncountedTerminatedPods": {}}, False),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, True),
    ],
)
def test_only_what_somebody_reads_is_news_of_a_job(status: Manifest, concerns: bool) -> None:
    cache, owner = ObjectCache(), stored(dataset("ns"), 1)
    cache.put(owner)
    assert cache.change(job(owner, 2)) == {Key("Dataset", "ns", "brain")}
    later = job(owner, 3, status={})
    later["metadata"] |= {"managedFields": [{"manager": "kcm"}], "finalizers": ["batch.kubernetes.io/job-tracking"]}
    cache.change(later)
    assert bool(cache.change(job(owner, 4, status=status))) is concerns
    assert cache.version(Key("Job", "ns", "job")) == "4"  # known all the same


def test_a_change_of_owner_concerns_both() -> None:
    cache, one, other = ObjectCache(), stored(dataset("ns", "one"), 1), stored(dataset("ns", "other"), 2)
    for owner in (one, other):
        cache.put(owner)
    cache.change(job(one, 3))
    assert {key.name for key in cache.change(job(other, 4))} == {"one", "other"}


def test_states_are_counted_as_they_change() -> None:
    cache = ObjectCache()
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Verified"}]}}
    for version, manifest in enumerate((dataset("ns"), dataset("ns", "other"), {**dataset("ns"), **ready}), 1):
        cache.put(stored(manifest, version))
    assert cache.states() == {("Dataset", "ns", "Unknown", "", False): 1, ("Dataset", "ns", "True", "Verified", False): 1}
    for manifest in list(cache.all("Dataset")):
        cache.remember_deleted(manifest)
    assert not cache.states()


def test_what_was_deleted_does_not_come_back_by_a_late_event_but_its_successor_does() -> None:
    cache, old = ObjectCache(), stored(dataset("ns"), 5)
    cache.put(old)
    assert cache.remember_deleted(old)
    assert not cache.put(stored(dataset("ns"), 6))
    assert cache.get("Dataset", "ns", "brain") is None
    assert cache.put(stored(dataset("ns"), 7, uid="another"))
    assert not cache.remember_deleted(old)
    assert cache.get("Dataset", "ns", "brain") is not None


def test_a_change_concerns_the_object_its_owner_and_who_refers_to_it() -> None:
    cache = ObjectCache()
    data, plan, run = stored(dataset("ns"), 1), stored(plans("ns"), 2), stored(training_run("ns"), 3)
    for manifest in (run, plan, data):  # who refers comes before what is referred to
        cache.put(manifest)
    job = child(data, "job", 4)
    cache.put(job)
    keys = {name: Key(name, "ns", "brain") for name in ("Dataset", "Plans")}
    assert cache.affected_by(data) == {keys["Dataset"], keys["Plans"]}
    assert cache.affected_by(plan) == {keys["Plans"], Key("TrainingRun", "ns", "run")}
    assert cache.affected_by(job) == {keys["Dataset"]}
    assert cache.owned("uid-brain", "Job") == [job]
    cache.put(stored(plans("ns", of="other"), 5))
    assert cache.affected_by(data) == {keys["Dataset"]}


def test_children_of_earlier_objects_of_a_name_are_found_until_they_are_gone() -> None:
    cache, now = ObjectCache(), stored(dataset("ns"), 9, uid="now")
    earlier = [stored(dataset("ns"), 1, uid=uid) for uid in ("first", "second")]
    others = [stored(dataset("ns", "other"), 1, uid="other"), stored(dataset("elsewhere"), 1, uid="elsewhere")]
    cache.put(now)
    children = {about["metadata"]["uid"]: child(about, f"{about['metadata']['uid']}-job", 2) for about in (*earlier, *others, now)}
    for manifest in children.values():
        cache.put(manifest)

    def found() -> list[Manifest]:
        return cache.of_namesakes("Dataset", "ns", "brain", "now")

    assert found() == [children["first"], children["second"]]
    cache.remember_deleted(children["first"])
    assert found() == [children["second"]]
    cache.remember_deleted(children["second"])
    assert found() == []


def test_a_transfer_is_told_of_plans_that_bear_its_name() -> None:
    spec = {"from": {"plansRef": {"name": "a"}}, "to": {"datasetRef": {"name": "b"}}, "plansName": "nnUNetPlans_a"}
    transfer = {
        "apiVersion": "nnunet.dev/v1alpha1",
        "kind": "PlanTransfer",
        "metadata": {"name": "moved", "namespace": "ns"},
        "spec": spec,
    }
    cache = ObjectCache()
    cache.put(stored(transfer, 1))
    squatter = stored(plans("ns", "moved"), 2)
    cache.put(squatter)
    assert Key("PlanTransfer", "ns", "moved") in cache.affected_by(squatter)


def test_an_object_that_cannot_be_read_is_kept_and_refers_to_nothing() -> None:
    cache = ObjectCache()
    broken = stored({**plans("ns"), "spec": {"datasetRef": 7}}, 1)
    assert cache.put(broken)
    assert cache.affected_by(broken) == {Key("Plans", "ns", "brain")}


def test_indices_hold_nothing_once_all_is_gone() -> None:
    cache, rng = ObjectCache(), random.Random(3)
    manifests = [stored(dataset("ns", f"d{i}"), i) for i in range(20)]
    manifests += [stored(plans("ns", f"p{i}", of=f"d{i % 7}"), 100 + i) for i in range(20)]
    manifests += [child(manifests[i], f"j{i}", 200 + i) for i in range(20)]
    rng.shuffle(manifests)
    for manifest in manifests:
        cache.put(manifest)
    rng.shuffle(manifests)
    for manifest in manifests:
        assert cache.remember_deleted(manifest)
    assert len(cache) == 0
    assert [len(index) for index in (cache._owned, cache._uids, cache._needs, cache._needed_by)] == [0, 0, 0, 0]
    assert not [known for known in cache._known.values() if known]


def test_what_pods_of_a_settled_object_do_concerns_it_again_with_its_next_version() -> None:
    run = stored(training_run("ns"), 1)
    key, cache = Key("TrainingRun", "ns", run["metadata"]["name"]), ObjectCache()
    cache.put(run)
    cache.settle(key)
    job = child(run, "job", 2)

    def pod(version: int) -> Manifest:
        return {**child(run, "pod", version), "kind": "Pod", "apiVersion": "v1"}

    assert cache.change(job) == {key}
    assert not cache.change(pod(3))
    assert not cache.affected_by(pod(4))
    cache.put(stored(training_run("ns"), 5))
    assert cache.change(pod(6) | {"status": {"phase": "Running"}}) == {key}


def test_pods_that_have_changed_are_told_once() -> None:
    run, cache = stored(training_run("ns"), 1), ObjectCache()
    pod = {**child(run, "pod", 2), "kind": "Pod", "apiVersion": "v1"}
    key = Key("Pod", "ns", "pod")
    for manifest in (run, child(run, "job", 2), pod, pod):
        cache.put(manifest)
    assert cache.take_changed_pods() == [key]
    assert not cache.take_changed_pods()
    cache.remove(pod)
    assert cache.take_changed_pods() == [key]


@pytest.mark.parametrize("ending", [{"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "True"}])
@pytest.mark.parametrize("first", ["owner", "children", "children that changed"])
def test_children_are_at_rest_when_their_owner_is(ending: dict[str, str], first: str) -> None:
    """A finished owner's last Jobs and pods stay for their logs, for days, and are looked at no more often than itself."""
    cache, run = ObjectCache(), stored(training_run("ns"), 1)
    done = {**stored(training_run("ns"), 9), "status": {"conditions": [ending]}}
    children = [child(run, f"job-{number}", 2 + number) for number in range(3)]
    keys = {Key("Job", "ns", f"job-{number}") for number in range(3)}
    if first == "owner":
        cache.put(run)
    for manifest in children:
        cache.put(manifest)
    assert cache._objects._at_work.keys() >= keys
    cache.put(done)
    if first == "children that changed":
        for number in range(3):
            cache.put(child(run, f"job-{number}", 20 + number))
    assert not cache._objects._at_work
    assert cache._objects._at_rest.keys() >= keys
    cache.put(stored(training_run("ns"), 99))  # spec.rerun
    assert cache._objects._at_work.keys() >= keys
