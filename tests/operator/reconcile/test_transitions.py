"""Changes at awkward moments: what is asked for while something runs, what goes away under whoever needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]
API = "nnunet.dev/v1alpha1"


def put(world: MemoryWorld, kind: str, name: str, **spec: Any) -> None:
    world.put({"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec})


def dataset(world: MemoryWorld) -> None:
    source = {"uri": "s3://nnunet/raw/Dataset004_Hippocampus"}
    world.put({"apiVersion": API, "kind": "Dataset", "metadata": {"name": "data"},
               "spec": {"name": "Dataset004_Hippocampus", "source": source}})  # fmt: skip


def finish(world: MemoryWorld, version: str = "1", **labels: str) -> None:
    job = next(job for job in world.jobs(**labels) if not job.get("status"))
    world.finish(job, report_of(job, version))
    world.settle()


def test_a_dataset_that_is_to_be_read_again_while_it_is_read() -> None:
    world = MemoryWorld()
    dataset(world)
    world.settle()
    first = world.job(step="dataset")
    world.run(first)
    world.settle()
    world.edit("Dataset", "data", rerun="again")
    world.settle()
    assert [job["metadata"]["name"] for job in world.jobs(step="dataset")] == [], "the first is asked to go"
    assert len(world.created) == 1, "and is waited for"
    world.wait(seconds=2)
    world.end_deletions()
    world.settle()
    assert world.job(step="dataset", attempt="1")
    finish(world, step="dataset")
    assert world.condition("Dataset", "data")[0] == "True"
    assert world.status("Dataset", "data")["work"]["restarts"] == 0


@pytest.mark.parametrize("ends", [143, 0])
def test_a_run_that_is_suspended_while_it_validates(train: Train, ends: int) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="validating", epoch=10, epochs=10)
    world.settle()
    assert world.fold("run")["state"] == "Validating"
    world.background = False
    world.edit("TrainingRun", "run", suspend=True)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Suspending"
    if ends == 0:
        world.finish(job)  # it was done before it heard of it
        world.settle()
    world.end_deletions()
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Suspended"
    world.edit("TrainingRun", "run", suspend=False)
    world.settle()
    assert (world.fold("run")["state"], world.fold("run")["attempt"], world.fold("run")["restarts"]) == ("Starting", 1, 0)
    finish(world, owner_name="run")
    assert world.condition("TrainingRun", "run")[0] == "True"


@pytest.mark.parametrize("state", ["waiting", "planning", "preprocessing", "ready"])
def test_a_dataset_that_is_deleted_under_its_plans(state: str) -> None:
    world = MemoryWorld()
    dataset(world)
    put(world, "Plans", "plans", datasetRef={"name": "data"})
    put(world, "TrainingRun", "run", plansRef={"name": "plans"}, folds=["0"])
    world.settle()
    for step in {"waiting": (), "planning": ("dataset",), "preprocessing": ("dataset", "plan")}.get(
        state, ("dataset", "plan", "preprocess")
    ):
        finish(world, step=step)
    running = [job["metadata"]["name"] for job in world.jobs() if job["metadata"]["labels"]["nnunet.dev/owner-kind"] == "Plans"]
    world.remove("Dataset", "data")
    world.settle()
    still = [job["metadata"]["name"] for job in world.jobs() if job["metadata"]["labels"]["nnunet.dev/owner-kind"] == "Plans"]
    assert still == running, "what was begun goes on"
    if state == "ready":
        assert world.condition("Plans", "plans")[0] == "True"
        assert world.condition("TrainingRun", "run")[1] == "Starting", "all that it needs is there"
        return
    for step in {"planning": ("plan",), "preprocessing": ("preprocess",)}.get(state, ()):
        finish(world, step=step)
    if state == "preprocessing":
        assert world.condition("Plans", "plans")[0] == "True"
        return
    status, reason, message = world.condition("Plans", "plans")
    assert (status, reason) == ("False", "WaitingForDataset")
    assert "Dataset data (spec.datasetRef), which does not exist" in message
    dataset(world)
    world.settle()
    for step in ("dataset", *(("plan",) if state == "waiting" else ()), "preprocess"):
        finish(world, step=step)
    assert world.condition("Plans", "plans")[0] == "True", "another of that name, with the same data, will do"


def test_another_dataset_of_the_same_name_and_other_data(prepared: MemoryWorld) -> None:
    world = prepared
    world.remove("Dataset", "data")
    world.settle()
    assert world.condition("Plans", "plans")[0] == "True"
    dataset(world)
    world.settle()
    finish(world, "2", step="dataset")
    assert world.condition("Plans", "plans")[1] == "Starting"
    assert world.job(step="plan", attempt="1")


def test_plans_that_are_made_anew_under_a_run_that_waits(prepared: MemoryWorld) -> None:
    world = prepared
    put(world, "TrainingRun", "source", plansRef={"name": "plans"}, folds=["all"])
    put(world, "TrainingRun", "run", plansRef={"name": "plans"}, folds=["0"], pretrained={"runRef": {"name": "source"}})
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "WaitingForTrainingRun"
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    finish(world, "2", step="dataset")
    assert world.condition("TrainingRun", "run")[1] == "WaitingForPlans"
    finish(world, "2", step="plan")
    finish(world, "2", step="preprocess")
    assert world.condition("TrainingRun", "run")[1] == "WaitingForTrainingRun"
    finish(world, owner_name="source")
    assert world.condition("TrainingRun", "run")[1] == "Starting", "on the new plans, from weights of the old ones: as it was asked"
    assert world.order(world.job(owner_name="run"))["plans"]["digest"] == "p-plans-2"
    assert world.status("TrainingRun", "source")["plans"] == "p-plans-1", "what it was trained with"


def test_a_rerun_while_the_next_attempt_is_waited_for(train: Train) -> None:
    world = train(failurePolicy={"maxRestarts": 3})
    world.fail(world.job(owner_name="run"), 1)
    world.settle()
    assert world.fold("run")["state"] == "BackingOff"
    world.edit("TrainingRun", "run", rerun="now")
    world.settle()
    assert (world.fold("run")["state"], world.fold("run")["attempt"], world.fold("run")["restarts"]) == ("Starting", 1, 0)


def test_a_rerun_of_a_suspended_run_waits_for_it_to_be_resumed(train: Train) -> None:
    world = train()
    world.fail(world.job(owner_name="run"), 78)
    world.settle()
    world.edit("TrainingRun", "run", rerun="1", suspend=True)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Suspended"
    assert len(world.created) == len(set(world.created)) == 4
    world.edit("TrainingRun", "run", suspend=False)
    world.settle()
    assert (world.fold("run")["state"], world.fold("run")["attempt"]) == ("Starting", 1)


def test_the_plans_of_a_transfer_that_somebody_deletes_come_back() -> None:
    world = MemoryWorld()
    dataset(world)
    put(world, "Plans", "plans", datasetRef={"name": "data"})
    spec = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    world.put({"apiVersion": API, "kind": "PlanTransfer", "metadata": {"name": "moved"}, "spec": spec})
    world.settle()
    for step in ("dataset", "plan", "transfer", "preprocess", "preprocess"):
        finish(world, step=step)
    assert world.condition("PlanTransfer", "moved")[0] == "True"
    world.remove("Plans", "moved")
    world.settle()
    assert world.condition("PlanTransfer", "moved")[:2] == ("False", "Starting")
    finish(world, step="transfer")
    finish(world, step="preprocess")
    assert world.condition("PlanTransfer", "moved")[0] == "True"
