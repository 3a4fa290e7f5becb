"""When a Job is deleted, and what goes with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from nnunet_operator.reconcile.view import Key
from support.world import CHAIN, STORAGE, MemoryWorld

Train = Callable[..., MemoryWorld]


def test_a_job_is_deleted_only_when_its_result_is_stored(train: Train) -> None:
    world = train()
    world.finish(world.job(owner_name="run"))
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.status["folds"][0]["state"] == "Succeeded"
    assert not outcome.delete
    assert [delete.kind for delete in outcome.delete_once_stored] == ["ConfigMap", "Job"]
    key = Key("TrainingRun", "default", "run")
    world.carry_out(key, outcome, steps=1)  # killed once the status is written
    after = world.outcome("TrainingRun", "run")
    assert after is not None
    assert [delete.kind for delete in after.delete] == ["ConfigMap", "Job"]
    assert after.status == outcome.status
    world.carry_out(key, after)
    assert not world.jobs(owner_name="run")


def test_an_attempt_that_is_given_up_is_deleted_after_that_is_stored(train: Train) -> None:
    world = train(activeDeadlineSeconds=60)
    world.run(world.job(owner_name="run"))
    world.settle()
    world.wait(seconds=61)
    key = Key("TrainingRun", "default", "run")
    outcome = world.outcome(*key[::2])
    assert outcome is not None
    assert outcome.status["folds"][0]["state"] == "Failed"
    assert not outcome.delete
    assert [delete.kind for delete in outcome.delete_once_stored] == ["ConfigMap", "Job"]
    world.carry_out(key, outcome, steps=1)
    after = world.outcome(*key[::2])
    assert after is not None
    assert [delete.kind for delete in after.delete] == ["ConfigMap", "Job"]


@pytest.mark.parametrize("ended", ["running", "failed for good", "failed"])
def test_nothing_is_left_of_a_job_deleted_by_hand(train: Train, ended: str) -> None:
    world = train(workers={"nodes": 2})
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    if ended != "running":
        world.fail(job, 78 if ended == "failed for good" else 1)
        world.turn()
    left = {key for key in world.objects if key.kind in ("ConfigMap", "Service") and key.name.startswith(job["metadata"]["name"])}
    assert len(left) == 2
    world.remove("Job", job["metadata"]["name"])
    world.settle()
    assert not left & world.objects.keys()


def test_a_gangs_pod_group_is_made_before_its_job_and_goes_with_it(train: Train) -> None:
    world = MemoryWorld(dataclasses.replace(STORAGE, gang_scheduling=True))
    world.put(CHAIN)
    spec = {"plansRef": {"name": "plans"}, "folds": ["0"], "workers": {"nodes": 2}}
    world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "run"}, "spec": spec})
    groups: set[str] = set()
    for _ in range(4):
        world.settle()
        groups |= {key.name for key in world.objects if key.kind == "PodGroup"}
        for job in world.jobs():
            world.finish(job)
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"
    assert groups == {name for name in world.created if "-f0-" in name}, "shards and single pods need none"
    assert not [key for key in world.objects if key.kind in ("PodGroup", "Job")]


def test_a_pod_group_of_a_job_that_somebody_has_deleted_goes_too(train: Train) -> None:
    world = train(workers={"nodes": 2})
    world.settings = dataclasses.replace(world.settings, gang_scheduling=True)
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    world.apply({**job, "kind": "PodGroup", "spec": {}})
    world.delete("Job", job["metadata"]["name"], "")
    world.settle()
    world.end_deletions()
    world.settle()
    assert Key("PodGroup", "default", job["metadata"]["name"]) not in world.objects
    assert Key("PodGroup", "default", world.job(owner_name="run")["metadata"]["name"]) in world.objects, (
        "the next attempt has its own"
    )
