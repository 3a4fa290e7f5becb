"""The folds of a run are never trained on different things."""

from __future__ import annotations

from collections.abc import Callable

from support.objects import finish_open, resource
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]


def test_folds_of_one_run_are_never_mixed(train: Train) -> None:
    world = train(folds=["0", "1"], maxParallelFolds=1)
    world.finish(world.job(fold="0"))
    world.edit("Dataset", "data", rerun="2")
    world.turn()
    running = world.job(step="dataset")
    world.finish(running, report_of(running, version="2"))
    world.settle()
    first = world.job(fold="1")
    world.run(first)
    for step in ("plan", "preprocess"):
        job = world.job(step=step)
        world.finish(job, report_of(job, version="2"))
        world.settle()
    assert world.fold("run", "1")["state"] == "Running", "what runs goes on by its frozen order"
    world.disrupt(first)
    world.settle()
    _status, reason, message = world.condition("TrainingRun", "run")
    assert reason == "ReferenceChanged"
    assert "spec.rerun" in message
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "True"


def test_plans_that_are_made_anew_under_a_run_that_waits(prepared: MemoryWorld) -> None:
    world = prepared
    world.put(resource("TrainingRun", "source", plansRef={"name": "plans"}, folds=["all"]))
    world.put(resource("TrainingRun", "run", plansRef={"name": "plans"}, folds=["0"], pretrained={"runRef": {"name": "source"}}))
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "WaitingForTrainingRun"
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    finish_open(world, "2", step="dataset")
    assert world.condition("TrainingRun", "run")[1] == "WaitingForPlans"
    finish_open(world, "2", step="plan")
    finish_open(world, "2", step="preprocess")
    assert world.condition("TrainingRun", "run")[1] == "WaitingForTrainingRun"
    finish_open(world, owner_name="source")
    assert world.condition("TrainingRun", "run")[1] == "Starting", "on the new plans, from weights of the old ones: as it was asked"
    assert world.order(world.job(owner_name="run"))["plans"]["digest"] == "p-plans-2"
    assert world.status("TrainingRun", "source")["plans"] == "p-plans-1", "what it was trained with"
