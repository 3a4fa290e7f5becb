"""A plug-in's ConfigMap that is missing, or that is changed under a run: nothing is ordered of it, and no run is trained by two."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from nnunet_operator.reconcile.view import Manifest
from support.objects import dataset, finish, plans, run
from support.world import MemoryWorld

MINE = [{"configMapName": "mine"}]
A, B = "a" * 64, "b" * 64


def settled(world: MemoryWorld, after: float = 60) -> None:
    """As much later as somebody may wait for what they have mended."""
    world.now += timedelta(seconds=after)
    world.settle()


@pytest.fixture
def world() -> MemoryWorld:
    """Data and plans that need no plug-in."""
    world = MemoryWorld()
    world.put(dataset())
    world.put(plans())
    world.settle()
    for step in ("dataset", "plan", "preprocess"):
        finish(world, step)
    return world


def begin(world: MemoryWorld, **spec: Any) -> Manifest:
    """A run by the plug-in as it is now; the Job of its first fold, which runs."""
    world.put(run(plugins=MINE, **{"folds": ["0", "1"], "maxParallelFolds": 1, **spec}))
    world.settle()
    [job] = world.jobs(step="train")
    world.run(job)
    world.settle()
    return job


@pytest.mark.parametrize("kind", ["Dataset", "Plans", "PlanTransfer", "TrainingRun"])
def test_one_that_is_missing_is_named_before_any_job_and_found_once_it_is_there(world: MemoryWorld, kind: str) -> None:
    world.plugins = {"mine": None}
    moved = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    made = {
        "Dataset": dataset("own", plugins=MINE),
        "Plans": plans("own", plugins=MINE),
        "PlanTransfer": {**run("own"), "kind": "PlanTransfer", "spec": {**moved, "plugins": MINE}},
        "TrainingRun": run("own", plugins=MINE),
    }
    before = len(world.created)
    world.put(made[kind])
    settled(world)
    assert len(world.created) == before
    # A PlanTransfer is as its Plans is.
    status, reason, message = world.condition("Plans" if kind == "PlanTransfer" else kind, "own")
    assert (status, reason) == ("False", "WaitingForPlugin")
    assert "waits for the ConfigMap mine of spec.plugins: namespace default has none" in message
    assert "waits for the ConfigMap mine" in world.condition(kind, "own")[2]
    outcome = world.outcome("Plans" if kind == "PlanTransfer" else kind, "own")
    assert outcome is not None
    assert outcome.look_again is not None
    assert outcome.look_again <= timedelta(seconds=60)
    world.plugins = {"mine": A}
    settled(world)
    [job] = [job for job in world.jobs() if not job.get("status")]
    assert world.order(job)["pluginDigests"] == {"mine": A}
    assert "pluginDigests" not in world.order(job).get("requires", {}), "an earlier trainer does without"


def test_what_is_being_deleted_does_not_wait_for_one(world: MemoryWorld) -> None:
    world.plugins = {"mine": A}
    begin(world, retention="Delete", folds=["0"])
    finish(world, "train")
    world.plugins = {"mine": None}
    world.delete("TrainingRun", "run", "")
    settled(world)
    assert world.job(step="delete_results")


@pytest.mark.parametrize("ends", ["before it is looked at", "later"])
def test_a_lost_status_write_does_not_let_the_next_fold_begin_by_another(world: MemoryWorld, ends: str) -> None:
    """A Job is made before the status that tells of it is stored."""
    world.plugins = {"mine": A}
    job = begin(world)
    about = world.get("TrainingRun", "default", "run")
    assert about is not None
    world.write_status(about, {name: value for name, value in about["status"].items() if name not in ("plugins", "folds")})
    world.plugins = {"mine": B}
    if ends == "later":
        settled(world)
        assert world.status("TrainingRun", "run")["plugins"] == {"mine": A}
    world.finish(job)
    settled(world)
    assert world.condition("TrainingRun", "run")[1] == "PluginChanged"
    world.plugins = {"mine": A}
    settled(world)
    assert world.order(world.job(step="train", fold="1"))["pluginDigests"] == {"mine": A}


@pytest.mark.parametrize("then", ["the first fold is done", "its pods were preempted"])
def test_a_run_that_has_begun_is_trained_by_nothing_else(world: MemoryWorld, then: str) -> None:
    world.plugins = {"mine": A}
    job = begin(world)
    assert world.status("TrainingRun", "run")["plugins"] == {"mine": A}
    world.say(job, epoch=3, epochs=10)
    world.plugins = {"mine": B}
    settled(world)
    assert world.condition("TrainingRun", "run")[1] == "Training", "what runs goes on"
    finish(world, "train", fold="0") if "done" in then else world.disrupt(job)
    settled(world)
    assert len(world.created) == 4, "no Job is made"
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "PluginChanged")
    assert (
        "the ConfigMap mine of spec.plugins was changed since this run began (aaaaaaaaaaaa → bbbbbbbbbbbb): put it back" in message
    )
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "True"
    world.plugins = {"mine": A}
    settled(world)
    assert len(world.created) == 5
    [going] = [each for each in world.jobs(step="train") if not each.get("status")]
    assert world.order(going)["pluginDigests"] == {"mine": A}
    assert world.condition("TrainingRun", "run", "Stalled")[0] != "True"


def test_one_that_fails_at_once_may_be_mended(world: MemoryWorld) -> None:
    """Nothing is trained yet: what it was has come to nothing."""
    world.plugins = {"mine": A}
    world.fail(begin(world, folds=["0"]), 78)
    world.settle()
    assert world.fold("run")["state"] == "Failed"
    world.plugins = {"mine": B}
    world.edit("TrainingRun", "run", rerun="2")
    settled(world)
    [job] = [each for each in world.jobs(step="train") if not each.get("status")]
    assert world.order(job)["pluginDigests"] == {"mine": B}
    assert world.status("TrainingRun", "run")["plugins"] == {"mine": B}


@pytest.mark.parametrize("needed", [True, False])
def test_a_run_of_plans_whose_plugin_was_changed_takes_no_gpu(world: MemoryWorld, needed: bool) -> None:
    world.status("Plans", "plans")["plugins"] = [{"name": "mine", "digest": A, "needed": needed}]
    world.plugins = {"mine": B}
    world.put(run(plugins=MINE))
    settled(world)
    if needed:
        status, reason, message = world.condition("TrainingRun", "run")
        assert (status, reason, len(world.created)) == ("False", "PluginChanged", 3)
        assert "was changed since Plans plans was made" in message
    else:
        assert world.job(step="train")
