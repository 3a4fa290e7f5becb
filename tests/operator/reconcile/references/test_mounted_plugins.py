"""A plug-in's ConfigMap that is missing, or that is changed under a run: nothing is ordered of it, and no run is trained by two."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from nnunet_operator.reconcile.view import Manifest
from support.objects import dataset, events, finish, finish_open, plans, resource, run, transfer
from support.world import MemoryWorld, report_of

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


def test_of_transferred_plans_those_that_they_are_of_are_planned_anew(world: MemoryWorld) -> None:
    world.put(transfer("moved"))
    world.settle()
    finish(world, "transfer")
    finish_open(world, step="preprocess")
    world.status("Plans", "moved")["plugins"] = [{"name": "mine", "digest": A, "needed": True}]
    world.plugins = {"mine": B}
    world.put(run(plugins=MINE, plansRef={"name": "moved"}))
    settled(world)
    message = world.condition("TrainingRun", "run")[2]
    assert "was changed since Plans moved was made" in message
    assert "set spec.rerun of Plans plans to a new value" in message


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


def planned_with(world: MemoryWorld, *, needed: bool) -> None:
    """Plans `own`, made with the plug-in A, whose configuration is preprocessed."""
    world.plugins = {"mine": A}
    world.put(plans("own", plugins=MINE))
    world.settle()
    job = world.job(step="plan", owner_name="own")
    report = report_of(job)
    about = [{"name": "mine", "digest": A, "needed": needed}]
    world.finish(job, dataclasses.replace(report, summary={**report.summary, "plugins": about}))
    world.settle()
    finish(world, "preprocess", owner_name="own")
    assert world.condition("Plans", "own")[0] == "True"


def plannings(world: MemoryWorld, name: str = "own") -> list[Manifest]:
    return world.jobs(step="plan", owner_name=name)


@pytest.mark.parametrize(
    ("now", "needed", "failed", "anew"),
    [
        (B, True, False, True),
        (B, False, False, True),
        (B, True, True, True),
        (B, False, True, False),
        (A, True, False, False),
        (A, True, True, False),
        (None, True, False, False),
    ],
    ids=lambda value: {A: "same", B: "changed", None: "missing"}.get(value, str(value)),
)
def test_a_rerun_plans_anew_with_a_plugin_that_was_changed(
    world: MemoryWorld, now: str | None, needed: bool, failed: bool, anew: bool
) -> None:
    """Where something failed, it is tried again; a plug-in that planning alone needs changes nothing of that."""
    planned_with(world, needed=needed)
    if failed:
        row = next(row for row in world.status("Plans", "own")["configurations"] if row["name"] == "3d_fullres")
        row["state"] = "Failed"
    world.plugins = {"mine": now}
    settled(world)
    assert len(plannings(world)) <= 1, "nothing happens by itself"
    since = len(world.events)
    world.edit("Plans", "own", rerun="2")
    settled(world)
    [told] = [message for reason, message in events(world, "Plans", "own", since) if reason == "Rerun"]
    going = [job for job in plannings(world) if not job.get("status")]
    assert ("begins anew with the plug-in mine as it is now" in told) == bool(going) == anew
    if not anew:
        assert bool([job for job in world.jobs(step="preprocess", owner_name="own") if not job.get("status")]) == failed
        assert world.condition("Plans", "own")[0] == ("False" if failed else "True")
        return
    assert world.order(going[0])["pluginDigests"] == {"mine": B}
    world.finish(going[0], report_of(going[0], "2"))
    settled(world)
    assert [job for job in world.jobs(step="preprocess", owner_name="own") if not job.get("status")], "and what follows from it"


def test_a_run_whose_plans_are_planned_anew(world: MemoryWorld) -> None:
    """One that has not begun goes on with them; one that is done keeps its results until its own rerun."""
    planned_with(world, needed=True)
    own = {"plansRef": {"name": "own"}, "folds": ["0"], "plugins": MINE}
    world.put(resource("TrainingRun", "done", **own))
    world.settle()
    finish(world, "train", owner_name="done")
    world.plugins = {"mine": B}
    world.put(resource("TrainingRun", "later", **own))
    settled(world)
    status, reason, message = world.condition("TrainingRun", "later")
    assert (status, reason) == ("False", "PluginChanged")
    assert "since Plans own was made (aaaaaaaaaaaa → bbbbbbbbbbbb): put it back, or set spec.rerun of Plans own" in message
    world.edit("Plans", "own", rerun="2")
    settled(world)
    [job] = [job for job in plannings(world) if not job.get("status")]
    report = report_of(job, "2")
    about = [{"name": "mine", "digest": B, "needed": True}]
    world.finish(job, dataclasses.replace(report, summary={**report.summary, "plugins": about}))
    settled(world)
    finish_open(world, "2", step="preprocess", owner_name="own")
    settled(world)
    assert world.order(world.job(step="train", owner_name="later"))["pluginDigests"] == {"mine": B}
    assert world.condition("TrainingRun", "done")[0] == "True"
    assert "ReferenceChanged" in [reason for reason, _ in events(world, "TrainingRun", "done")]
    assert len([job for job in world.jobs(step="train", owner_name="done") if not job.get("status")]) == 0
    world.edit("TrainingRun", "done", rerun="2")
    settled(world)
    [again] = [job for job in world.jobs(step="train", owner_name="done") if not job.get("status")]
    assert world.order(again)["pluginDigests"] == {"mine": B}


def test_a_transfer_is_not_made_anew_by_itself(world: MemoryWorld) -> None:
    """Its plans say what the plans that it is of were made with."""
    world.plugins = {"mine": A}
    world.put(transfer("moved"))
    world.settle()
    finish(world, "transfer")
    finish_open(world, step="preprocess")
    world.edit("Plans", "moved", plugins=MINE)
    world.status("Plans", "moved")["plugins"] = [{"name": "mine", "digest": A, "needed": True}]
    world.plugins = {"mine": B}
    world.edit("Plans", "moved", rerun="2")
    settled(world)
    assert len(world.jobs(step="transfer")) <= 1
    assert world.status("Plans", "moved")["work"]["state"] == "Succeeded"
