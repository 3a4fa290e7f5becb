"""An object that is made anew under its name waits for what the earlier one started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nnunet_operator.reconcile.view import Key
from support.objects import dataset, run
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]
Manifest = dict[str, Any]
KEY = Key("TrainingRun", "default", "run")


def forget(world: MemoryWorld, key: Key) -> None:
    """The object is gone; the garbage collector has yet to see that."""
    del world.objects[key]


def jobs_of(world: MemoryWorld, key: Key) -> list[str]:
    uid = world.objects[key]["metadata"]["uid"]
    return [job["metadata"]["name"] for job in world.jobs(owner_uid=uid)]


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("kind", ["TrainingRun", "Dataset"])
def test_it_waits_for_pods_and_jobs_of_the_earlier_one(prepared: MemoryWorld, kind: str, running: bool, background: bool) -> None:
    world = prepared
    world.background = background
    made = run() if kind == "TrainingRun" else dataset("run")
    key = Key(kind, "default", "run")
    world.put(made)
    world.settle()
    [old] = world.jobs(owner_name="run")
    if running:
        world.run(old)
        world.settle()
    forget(world, key)
    world.put(made)
    world.settle()
    assert jobs_of(world, key) == [], "the earlier one's Job is there"
    what = f"Job {old['metadata']['name']}"
    _, reason, message = world.condition(kind, "run")
    assert (reason, what in message) == ("WaitingForPredecessor", True), message
    assert f"of an earlier {kind} of this name to end" in message

    world.delete("Job", old["metadata"]["name"], old["metadata"]["uid"])
    world.settle()
    if running:
        pod = world.pods(old["metadata"]["name"])[0]
        assert jobs_of(world, key) == [], "its pod has its grace"
        assert f"Pod {pod['metadata']['name']}" in world.condition(kind, "run")[2]
        world.end_deletions()
        world.settle()
    assert len(jobs_of(world, key)) == 1
    assert world.condition(kind, "run", "Stalled")[0] != "True"


def test_a_pod_on_a_lost_node_does_not_hold_it_back_for_ever(train: Train) -> None:
    world = train()
    world.run(world.job(owner_name="run"))
    job = world.job(owner_name="run")
    forget(world, KEY)
    world.delete("Job", job["metadata"]["name"], job["metadata"]["uid"])
    world.put(run())
    world.settle()
    world.wait(seconds=300 + 59)
    world.settle()
    assert not jobs_of(world, KEY)
    world.wait(seconds=2)
    world.settle()
    assert len(jobs_of(world, KEY)) == 1


def other_name(pod: Manifest) -> None:
    pod["metadata"]["labels"]["nnunet.dev/owner-name"] = "other"


def other_kind(pod: Manifest) -> None:
    pod["metadata"]["labels"]["nnunet.dev/owner-kind"] = "Dataset"


def of_no_job(pod: Manifest) -> None:
    pod["metadata"]["ownerReferences"] = []


def not_controlled(pod: Manifest) -> None:
    del pod["metadata"]["ownerReferences"][0]["controller"]


def of_a_job_of_another_name(pod: Manifest) -> None:
    pod["metadata"]["ownerReferences"][0]["name"] = "run-abcdef-f0-0"


def of_another_kind_of_controller(pod: Manifest) -> None:
    pod["metadata"]["ownerReferences"][0] |= {"kind": "ReplicaSet", "apiVersion": "apps/v1"}


def ended(pod: Manifest) -> None:
    pod["status"]["phase"] = "Failed"


ALIENS = [other_name, other_kind, of_no_job, not_controlled, of_a_job_of_another_name, of_another_kind_of_controller, ended]


@pytest.mark.parametrize("change", ALIENS, ids=lambda change: change.__name__)
def test_what_is_not_of_an_earlier_one_or_has_ended_is_not_waited_for(train: Train, change: Callable[[Manifest], None]) -> None:
    world = train()
    job = world.job(owner_name="run")
    [pod] = world.run(job)
    forget(world, KEY)
    forget(world, Key("Job", "default", job["metadata"]["name"]))
    change(pod)
    world.put(run())
    world.settle()
    assert len(jobs_of(world, KEY)) == 1
