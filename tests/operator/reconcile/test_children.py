"""A Job or a pod counts when its owner controls it, in the owner's namespace and under the attempt's name; labels do not matter."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from nnunet_operator.controller.carry_out import ChildRefused
from nnunet_operator.manifests import names, ownership
from nnunet_operator.reconcile.view import Key, Manifest
from nnunet_trainer.contract.report import Artifact, Report, encode
from support.objects import dataset, run
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]
Forge = Callable[[Manifest], None]


def in_another_namespace(job: Manifest) -> None:
    job["metadata"]["namespace"] = "neighbour"


def without_an_owner(job: Manifest) -> None:
    del job["metadata"]["ownerReferences"]


def without_controller(job: Manifest) -> None:
    del job["metadata"]["ownerReferences"][0]["controller"]


def of_another_kind(job: Manifest) -> None:
    job["metadata"]["ownerReferences"][0]["kind"] = "ConfigMap"


def of_another_group(job: Manifest) -> None:
    job["metadata"]["ownerReferences"][0]["apiVersion"] = "example.com/v1alpha1"


def of_another_uid(job: Manifest) -> None:
    job["metadata"]["ownerReferences"][0]["uid"] = "ffffff-0000"


def renamed(job: Manifest) -> None:
    job["metadata"]["name"] += "-copy"


def renamed_to_a_later_attempt(job: Manifest) -> None:
    job["metadata"]["name"] = job["metadata"]["name"].removesuffix("0") + "1"


def made_a_later_attempt(job: Manifest) -> None:
    renamed_to_a_later_attempt(job)
    job["metadata"]["labels"][names.ATTEMPT] = "1"


ALONGSIDE = [in_another_namespace, renamed, renamed_to_a_later_attempt, made_a_later_attempt]
"""Ways to have a second Job beside the first."""
NOT_OURS = [without_an_owner, without_controller, of_another_kind, of_another_group, of_another_uid]


def forged(world: MemoryWorld, job: Manifest, *changes: Forge) -> Manifest:
    """A changed copy of a Job that has ended well, with a report of the forger's, in the place where a watch would see it."""
    copied = copy.deepcopy(job)
    copied["metadata"]["uid"] = "eeeeee-0000"
    for change in changes:
        change(copied)
    meta = copied["metadata"]
    condition = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-01T11:00:00Z"}
    copied["status"] = {"conditions": [condition]}
    step = meta["labels"][names.STEP]
    kind = {"dataset": "dataset", "train": "run"}[step]
    report = Report(step=step, artifacts=[Artifact(kind=kind, uri="s3://nnunet/forged", digest="forged")])
    ended = {"terminated": {"exitCode": 0, "message": encode(report)}}
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{meta['name']}-x",
            "namespace": meta["namespace"],
            "uid": "dddddd-0000",
            "labels": {**meta["labels"], "job-name": meta["name"]},
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": "eeeeee-0000", "controller": True}
            ],
        },
        "spec": {},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "trainer", "state": ended}]},
    }
    for manifest in (copied, pod):
        world.objects[Key(manifest["kind"], meta["namespace"], manifest["metadata"]["name"])] = manifest
    return copied


def at_work(train: Train, kind: str) -> tuple[MemoryWorld, Manifest, str]:
    """A world in which a Dataset is read, or a run trained; the Job at work; the object's name."""
    if kind == "TrainingRun":
        world = train()
        return world, world.job(owner_name="run"), "run"
    world = MemoryWorld()
    world.put(dataset())
    world.settle()
    return world, world.job(), "data"


@pytest.mark.parametrize("kind", ["Dataset", "TrainingRun"])
@pytest.mark.parametrize("other", [None, *NOT_OURS])
@pytest.mark.parametrize("change", ALONGSIDE)
def test_a_job_beside_ours_is_nothing_to_us(train: Train, kind: str, change: Forge, other: Forge | None) -> None:
    world, ours, name = at_work(train, kind)
    world.run(ours)
    world.settle()
    before, theirs = copy.deepcopy(world.status(kind, name)), forged(world, ours, *([other] if other else []), change)
    kept = [Key(m["kind"], m["metadata"]["namespace"], m["metadata"]["name"]) for m in (ours, theirs)]
    created = list(world.created)
    world.settle()
    assert world.status(kind, name) == before
    assert world.created == created
    assert all(key in world.objects for key in kept)
    world.finish(ours)
    world.settle()
    assert world.condition(kind, name)[0] == "True"
    assert "forged" not in str(world.status(kind, name))
    assert world.created == created
    assert kept[1] in world.objects, "what is not ours is not ours to delete"


@pytest.mark.parametrize("manifest", [dataset("new"), run("new")], ids=lambda manifest: str(manifest["kind"]))
@pytest.mark.parametrize("change", NOT_OURS)
@pytest.mark.parametrize("phase", ["Pending", "Running", "Succeeded"])
def test_a_job_in_the_place_of_ours_is_told_of_and_neither_taken_over_nor_deleted(
    prepared: MemoryWorld, manifest: Manifest, change: Forge, phase: str
) -> None:
    world, about = prepared, Key(manifest["kind"], "default", "new")
    world.put(manifest)
    outcome = world.outcome(about.kind, "new")
    assert outcome is not None
    [wanted] = outcome.create
    theirs = forged(world, wanted, change)
    pod = world.objects[Key("Pod", "default", f"{theirs['metadata']['name']}-x")]
    pod["status"] |= {"phase": phase, "containerStatuses": []}
    for _ in range(3):
        outcome = world.outcome(about.kind, "new")
        assert outcome is not None
        assert not outcome.delete
        assert [job["metadata"]["name"] for job in outcome.create] == [theirs["metadata"]["name"]], (
            "it is asked for until it is there"
        )
        with pytest.raises(ChildRefused, match="is there already and is not of this"):
            world.carry_out(about, outcome)
    assert world.objects[Key("Job", "default", theirs["metadata"]["name"])] is theirs
    assert "forged" not in str(outcome.status)
    world.remove("Job", theirs["metadata"]["name"])
    world.settle()
    assert world.objects[Key("Job", "default", theirs["metadata"]["name"])]["metadata"]["uid"] != theirs["metadata"]["uid"]


def test_a_copy_of_a_finished_attempt_under_the_next_ones_name_is_not_taken_for_it(train: Train) -> None:
    world, ours, _ = at_work(train, "TrainingRun")
    world.fail(ours, 1)
    theirs = forged(world, ours, renamed_to_a_later_attempt)
    world.wait(minutes=1)
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    world.carry_out(Key("TrainingRun", "default", "run"), outcome)  # backs off
    world.wait(minutes=1)
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert [job["metadata"]["name"] for job in outcome.create] == [theirs["metadata"]["name"]]
    with pytest.raises(ChildRefused, match="is there already"):
        world.carry_out(Key("TrainingRun", "default", "run"), outcome)


def pod_of_our_job_without_controller(pod: Manifest) -> None:
    del pod["metadata"]["ownerReferences"][0]["controller"]


def pod_of_our_job_by_another_uid(pod: Manifest) -> None:
    pod["metadata"]["ownerReferences"][0]["uid"] = "ffffff-0000"


@pytest.mark.parametrize(
    "change", [in_another_namespace, without_an_owner, pod_of_our_job_without_controller, pod_of_our_job_by_another_uid]
)
@pytest.mark.parametrize("kind", ["Dataset", "TrainingRun"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_forged_pod_speaks_for_nobody(train: Train, kind: str, change: Forge, gone: bool) -> None:
    """While it is there, and by its last words: the garbage collector deletes at once what names an owner in another namespace."""
    world, ours, name = at_work(train, kind)
    theirs = forged(world, ours, renamed)
    pod = next(world.objects.pop(key) for key in list(world.objects) if key.name == f"{theirs['metadata']['name']}-x")
    del world.objects[Key("Job", "default", theirs["metadata"]["name"])]
    pod["metadata"]["ownerReferences"][0] |= {"name": ours["metadata"]["name"], "uid": ours["metadata"]["uid"]}
    change(pod)
    if gone:
        world.keep_deleted(ours, pod)
    else:
        world.objects[Key("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])] = pod
    before = copy.deepcopy(world.status(kind, name))
    world.settle()
    assert world.status(kind, name) == before
    world.finish(ours, "no report")
    world.settle()
    assert "forged" not in str(world.status(kind, name))
    assert "report could not be read" in str(world.status(kind, name)) or world.created.count(ours["metadata"]["name"]) == 1


@pytest.mark.parametrize("change", [in_another_namespace, *NOT_OURS])
def test_a_forged_job_that_is_gone_is_no_attempt(train: Train, change: Forge) -> None:
    world, ours, _ = at_work(train, "TrainingRun")
    del world.objects[Key("Job", "default", ours["metadata"]["name"])]
    theirs = copy.deepcopy(ours)
    change(theirs)
    with mock.patch.object(world, "deleted_jobs", return_value=[theirs]):
        world.settle()
    assert world.created.count(ours["metadata"]["name"]) == 2, "its own is asked for again, under its own name"
    assert "disruptions" not in world.fold("run") or world.fold("run")["disruptions"] == 0


def test_an_order_that_is_not_of_the_job_is_not_deleted_with_it(train: Train) -> None:
    world, ours, _ = at_work(train, "TrainingRun")
    spec = ours["spec"]["template"]["spec"]
    next(volume for volume in spec["volumes"] if volume["name"] == "order")["configMap"]["name"] = "somebodys"
    spec["subdomain"] = "somebodys"
    for kind in ("ConfigMap", "Service"):
        world.put({"apiVersion": "v1", "kind": kind, "metadata": {"name": "somebodys"}})
    world.finish(ours)
    world.settle()
    assert world.fold("run")["state"] == "Succeeded"
    assert Key("Job", "default", ours["metadata"]["name"]) not in world.objects
    for kind in ("ConfigMap", "Service"):
        assert Key(kind, "default", "somebodys") in world.objects


def test_pods_of_a_deleted_job_hold_back_the_next_attempt(train: Train) -> None:
    world, ours, _ = at_work(train, "TrainingRun")
    world.run(ours)
    world.settle()
    del world.objects[Key("Job", "default", ours["metadata"]["name"])]
    created = len(world.created)
    world.settle()
    world.wait(minutes=5)
    world.settle()
    assert len(world.created) == created
    for pod in world.pods(ours["metadata"]["name"]):
        world.remove("Pod", pod["metadata"]["name"])
    world.settle()
    assert len(world.created) == created + 1


@pytest.mark.parametrize(
    ("change", "controlled"),
    [
        ({}, True),
        ({"apiVersion": "nnunet.dev/v1"}, True),  # the kind's next version
        ({"controller": False}, False),
        ({"controller": "true"}, False),
        ({"controller": None}, False),
        ({"uid": ""}, False),
        ({"uid": None}, False),
        ({"name": "other"}, False),
        ({"kind": "Dataset"}, False),
        ({"apiVersion": "nnunet.dev.example.com/v1alpha1"}, False),
        ({"apiVersion": None}, False),
    ],
)
def test_who_controls_an_object(change: dict[str, Any], controlled: bool) -> None:
    owner = run()
    owner["metadata"] |= {"namespace": "default", "uid": "u-1"}
    reference = {"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "name": "run", "uid": "u-1", "controller": True}
    child = {"metadata": {"name": "x", "namespace": "default", "ownerReferences": [reference | change]}}
    assert ownership.is_controlled_by(child, owner) is controlled
    child["metadata"]["namespace"] = "other"
    assert not ownership.is_controlled_by(child, owner)
    owner["metadata"]["uid"] = change.get("uid", "")
    assert not ownership.is_controlled_by({**child, "metadata": {**child["metadata"], "namespace": "default"}}, owner)
