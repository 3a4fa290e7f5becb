"""Work orders that somebody deletes, and work orders of a Job that is deleted while the operator is killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nnunet_operator.reconcile.view import Key
from support.objects import run
from support.world import MemoryWorld, stamp

Train = Callable[..., MemoryWorld]
KEY = Key("TrainingRun", "default", "run")
BESIDE = ("ConfigMap", "Service")


def beside_jobs(world: MemoryWorld, owner: str = "run") -> set[Key]:
    """The orders and Services of an object's Jobs."""
    found = {key: manifest["metadata"].get("labels") or {} for key, manifest in world.objects.items() if key.kind in BESIDE}
    return {key for key, labels in found.items() if labels.get("nnunet.dev/owner-name") == owner}


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("queue", [None, "team"])
def test_what_a_waiting_pod_misses_is_made_again(train: Train, queue: str | None, nodes: int) -> None:
    world = train(workers={"nodes": nodes}, queueName=queue)
    job = world.job(owner_name="run")
    if queue:
        world.settle()
        assert world.fold("run")["state"] == "Queued"
        job["spec"]["suspend"] = False
    before = {key: world.objects[key] for key in beside_jobs(world)}
    assert len(before) == nodes  # with a Service for two
    for key in before:
        del world.objects[key]
    world.schedule(job)
    world.wait(seconds=3)
    world.settle()
    assert {key: world.objects[key].get("data") for key in beside_jobs(world)} == {k: o.get("data") for k, o in before.items()}
    assert world.created.count(job["metadata"]["name"]) == 1
    world.finish(job)
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"
    assert not beside_jobs(world)


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("pods", ["none yet", "without a node", "on their node"])
def test_what_was_deleted_in_a_queue_is_made_again_at_once(train: Train, pods: str, nodes: int) -> None:
    world = train(workers={"nodes": nodes}, queueName="team")
    job = world.job(owner_name="run")
    world.settle()
    before = {key: world.objects.pop(key) for key in beside_jobs(world)}
    world.wait(hours=3)
    world.settle()
    assert not beside_jobs(world), "as long as it queues nothing needs them, and nothing is asked of the server"
    job["spec"]["suspend"] = False
    if pods != "none yet":
        world.schedule(job, node=None if pods == "without a node" else "node-a")
    world.settle()
    assert {key: world.objects[key].get("data") for key in beside_jobs(world)} == {k: o.get("data") for k, o in before.items()}


def test_what_was_deleted_while_a_pod_waited_for_a_node_is_made_again_at_once(train: Train) -> None:
    world = train()
    (pod,) = world.schedule(world.job(owner_name="run"), node=None)
    world.settle()
    assert world.fold("run")["reason"] == "Unschedulable"
    for key in beside_jobs(world):
        del world.objects[key]
    world.wait(hours=3)
    world.settle()
    assert not beside_jobs(world)
    pod["spec"]["nodeName"] = "node-a"
    pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(world.now)}]
    world.settle()
    assert len(beside_jobs(world)) == 1


def test_it_is_made_again_for_one_of_two_pods(train: Train) -> None:
    world = train(workers={"nodes": 2})
    job = world.job(owner_name="run")
    first, _ = world.schedule(job)
    state = {"running": {"startedAt": stamp(world.now)}}
    first["status"] |= {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": state}]}
    for key in beside_jobs(world):
        del world.objects[key]
    world.wait(seconds=3)
    world.settle()
    assert world.fold("run")["state"] == "Running"
    assert len(beside_jobs(world)) == 2


def test_it_is_looked_for_as_long_as_the_pod_waits(train: Train) -> None:
    world = train()
    world.schedule(world.job(owner_name="run"))
    for _ in range(3):
        world.wait(seconds=61)
        for key in beside_jobs(world):
            del world.objects[key]
        world.settle()
        assert len(beside_jobs(world)) == 1
        outcome = world.outcome("TrainingRun", "run")
        assert outcome is not None
        assert outcome.look_again is not None
        assert outcome.look_again.total_seconds() <= 60


@pytest.mark.parametrize("state", ["no pod", "just scheduled", "without a node", "running"])
def test_nothing_is_asked_of_the_server_in_an_ordinary_start(train: Train, state: str) -> None:
    world = train()
    job = world.job(owner_name="run")
    if state == "running":
        world.run(job)
    elif state != "no pod":
        world.schedule(job, node=None if state == "without a node" else "node-a")
    world.wait(seconds=2 if state == "just scheduled" else 600)
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert not outcome.create_missing


def test_an_order_that_would_be_another_one_now_is_not_put_in_its_place(train: Train) -> None:
    world = train()
    world.schedule(world.job(owner_name="run"))
    world.edit("TrainingRun", "run", checkpoint={"keep": 9})
    for key in beside_jobs(world):
        del world.objects[key]
    world.wait(seconds=10)
    world.settle()
    assert not beside_jobs(world)
    world.wait(seconds=1800)
    world.settle()
    assert world.fold("run")["reason"] == "PreRunningDeadlineExceeded"


@pytest.mark.parametrize("end", ["succeeds", "fails for good", "is given up"])
@pytest.mark.parametrize("steps", range(5))
def test_killed_between_two_deletions_nothing_is_left(prepared: MemoryWorld, end: str, steps: int) -> None:
    world = prepared
    world.put(run(workers={"nodes": 2}, activeDeadlineSeconds=60))
    world.settle()
    job = world.job(owner_name="run")
    world.run(job)
    world.turn()
    if end == "succeeds":
        world.finish(job)
    elif end == "fails for good":
        world.fail(job, 78)
    else:
        world.wait(seconds=61)
    if end == "fails for good":
        world.turn()
        world.edit("TrainingRun", "run", rerun="2")  # until then its Job is kept, for its logs
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert [delete.kind for delete in outcome.delete_once_stored] == ["ConfigMap", "Service", "Job"]
    old = beside_jobs(world)
    world.carry_out(KEY, outcome, steps=steps)  # the status is the first
    world.settle()
    world.end_deletions()
    world.settle()
    left = {key for key in beside_jobs(world) if key.name.startswith(job["metadata"]["name"])}
    assert not left & old
    assert not world.jobs(owner_name="run", attempt="0")
