"""A pod on a node that never comes back: it is lost when its grace and a minute are over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from support.world import MemoryWorld, stamp

Train = Callable[..., MemoryWorld]

GRACE = 300
LOST = GRACE + 60


def forsake(world: MemoryWorld, pod: dict, *, tainted: bool = True) -> None:
    """The node of a pod is dead; its pod was asked to go, and nobody carries that out."""
    pod["metadata"] |= {"deletionTimestamp": stamp(world.now + timedelta(seconds=GRACE)), "deletionGracePeriodSeconds": GRACE}
    if tainted:
        pod["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"})


@pytest.mark.parametrize("tainted", [False, True])
@pytest.mark.parametrize("pending", [False, True])
def test_it_counts_as_a_disruption_and_the_work_goes_on(train: Train, tainted: bool, pending: bool) -> None:
    world = train(failurePolicy={"maxRestarts": 0})
    job = world.job(owner_name="run")
    if pending:
        world.hold(job, "ContainerCreating")
    else:
        world.run(job)
        world.say(job, phase="training", epoch=5, epochs=10)
    world.settle()
    forsake(world, world.pods(job["metadata"]["name"])[0], tainted=tainted)
    before = world.fold("run")["state"]
    world.wait(seconds=LOST - 1)
    world.settle()
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again == timedelta(seconds=1), "nothing else would wake it"
    assert (world.fold("run")["state"], world.fold("run")["attempt"]) == (before, 0)
    world.wait(seconds=1)
    world.settle()
    fold = world.fold("run")
    assert (fold["state"], fold["attempt"], fold["disruptions"], fold.get("restarts", 0)) == ("Starting", 1, 1, 0)
    message = next(event.message for _, event in world.events if event.reason == "Disrupted")
    assert "was lost with its node (node node-a): its pod was to end by 2026-11-01 12:05:00 UTC" in message
    assert [job["metadata"]["labels"]["nnunet.dev/attempt"] for job in world.jobs(owner_name="run")] == ["1"]
    world.run(world.job(owner_name="run"))
    world.finish(world.job(owner_name="run"))
    world.settle()
    assert world.fold("run")["state"] == "Succeeded", "the old pod still reads as running, and holds nothing up"


def test_the_others_of_its_attempt_get_their_grace_first(train: Train) -> None:
    world = train(workers={"nodes": 2})
    job = world.job(owner_name="run")
    pods = world.run(job)
    world.settle()
    forsake(world, pods[1])
    world.wait(seconds=LOST)
    world.settle()
    assert world.fold("run")["disruptions"] == 1
    assert world.jobs(owner_name="run") == [], "the other pod saves a checkpoint"
    assert pods[0]["metadata"]["deletionTimestamp"]
    world.end_deletions()
    world.wait(seconds=15)
    world.settle()
    assert world.fold("run")["attempt"] == 1
    assert len(world.jobs(owner_name="run")) == 1


@pytest.mark.parametrize(
    ("reason", "message", "state"),
    [
        ("BackoffLimitExceeded", "Job has reached the specified backoff limit", "Starting"),
        ("PodFailurePolicy", "Pod default/x has condition DisruptionTarget matching FailJob rule at index 0", "Starting"),
        (
            "PodFailurePolicy",
            "Container trainer for pod default/x failed with exit code 65 matching FailJob rule at index 1",
            "Failed",
        ),
    ],
)
def test_a_job_that_waits_for_a_lost_pod_to_fail_is_not_waited_for(train: Train, reason: str, message: str, state: str) -> None:
    world = train(workers={"nodes": 2}, failurePolicy={"maxRestarts": 0})
    job = world.job(owner_name="run")
    pods = world.run(job)
    world.settle()
    pods[0]["status"] |= {"phase": "Failed"}
    pods[0]["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 65 if state == "Failed" else 75}}
    forsake(world, pods[1], tainted=False)
    target = {"type": "FailureTarget", "status": "True", "reason": reason, "message": message}
    job["status"] = {"conditions": [{**target, "lastTransitionTime": stamp(world.now)}]}
    world.wait(seconds=LOST - 1)
    world.settle()
    assert world.fold("run")["attempt"] == 0
    world.wait(seconds=1)
    world.settle()
    fold = world.fold("run")
    assert (fold["state"], fold["disruptions"]) == (state, int(state == "Starting"))


def test_a_job_deleted_in_the_foreground_waits_for_its_lost_pod_and_the_work_does_not(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    pods = world.run(job)
    world.settle()
    job["metadata"] |= {"deletionTimestamp": stamp(world.now), "finalizers": ["foregroundDeletion"]}
    forsake(world, pods[0], tainted=False)
    world.wait(seconds=LOST)
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run")["disruptions"]) == (1, 1)
    assert sorted(job["metadata"]["labels"]["nnunet.dev/attempt"] for job in world.jobs(owner_name="run")) == ["0", "1"]


def test_a_suspended_run_does_not_wait_for_it(train: Train) -> None:
    world = train()
    pods = world.run(world.job(owner_name="run"))
    world.settle()
    world.edit("TrainingRun", "run", suspend=True)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Suspending"
    assert pods[0]["metadata"]["deletionTimestamp"]
    world.wait(seconds=LOST)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Suspended"
    world.edit("TrainingRun", "run", suspend=False)
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run").get("disruptions", 0)) == (1, 0)
