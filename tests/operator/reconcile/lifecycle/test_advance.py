"""One attempt after another, whatever was missed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nnunet_operator.reconcile.view import Key
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def killed_before_the_status(train: Train) -> MemoryWorld:
    """A run whose Job was made by an operator that was killed before it wrote so."""
    world = train(suspend=True)
    world.edit("TrainingRun", "run", suspend=False)
    key = Key("TrainingRun", "default", "run")
    outcome = world.outcome(*key[::2])
    assert outcome is not None
    world.carry_out(key, outcome, steps=2)
    assert world.fold("run").get("attempt") is None, "the operator was killed between the Job and the status"
    return world


def test_a_queued_job_is_left_to_its_queue(train: Train) -> None:
    world = train(queueName="gpus")
    job = world.job(owner_name="run")
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Queued"
    world.wait(days=30)
    world.settle()
    assert world.fold("run")["attempt"] == 0
    job["spec"]["suspend"] = False
    world.run(job)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Training"
    assert job["spec"]["suspend"] is False


def test_a_status_write_that_was_lost_makes_nothing_twice(train: Train) -> None:
    world = killed_before_the_status(train)
    world.finish(world.job(owner_name="run"))
    world.settle()
    assert world.fold("run")["state"] == "Succeeded"
    assert [name for name in world.created if name.startswith("run-")] == [world.fold("run")["job"]]


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_job_that_was_seen_and_is_deleted_before_it_was_worth_a_note_is_another_attempt(train: Train, nodes: int) -> None:
    world = train(workers={"nodes": nodes})
    first = world.job(owner_name="run")["metadata"]["name"]
    assert world.fold("run").get("job") is None, "nothing is written while a Job merely starts"
    world.remove("Job", first, seen=True)
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run")["disruptions"]) == (1, 1)
    assert world.job(owner_name="run")["metadata"]["name"] != first
    assert not [key for key in world.objects if key.name.startswith(first)], "its order and its Service go too"


def test_nor_is_it_made_twice_when_the_status_write_was_lost_too(train: Train) -> None:
    world = killed_before_the_status(train)
    world.remove("Job", world.job(owner_name="run")["metadata"]["name"], seen=True)
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run")["disruptions"]) == (1, 1)
    created = [name for name in world.created if name.startswith("run-")]
    assert len(created) == len(set(created)) == 2


def test_a_job_deleted_before_it_was_worth_a_note_while_nobody_looked_is_made_again(train: Train) -> None:
    world = train()
    world.remove("Job", world.job(owner_name="run")["metadata"]["name"])
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run")["disruptions"]) == (0, 0)
    assert len(world.jobs(owner_name="run")) == 1


def test_no_next_attempt_while_the_last_one_may_still_run(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    pods = world.run(job)
    world.settle()
    job["status"] = {"conditions": [{"type": "FailureTarget", "status": "True", "reason": "PodFailurePolicy", "message": ""}]}
    world.wait(minutes=10)
    world.settle()
    assert len(world.jobs(owner_name="run")) == 1, "FailureTarget is not the end"
    assert pods[0]["status"]["phase"] == "Running"
