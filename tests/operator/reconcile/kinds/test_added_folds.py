"""Folds that are added to a run, while it trains and after it has finished."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]


def finished(train: Train, **spec: object) -> MemoryWorld:
    """A run of fold 0 that is done."""
    world = train(folds=["0"], **spec)
    world.finish(world.job(owner_name="run"))
    world.settle()
    world.wait(minutes=1)
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"
    return world


def test_a_finished_run_goes_on_with_its_new_folds_alone(train: Train) -> None:
    world = finished(train)
    before, made = dict(world.fold("run")), list(world.created)
    status = world.status("TrainingRun", "run")
    assert (status["foldsDone"], status["meanDice"]) == ("1/1", 0.85)
    assert "completionTime" in status

    world.edit("TrainingRun", "run", folds=["0", 1, 2])
    world.settle()
    new = [name for name in world.created if name not in made]
    assert sorted(job["metadata"]["labels"]["nnunet.dev/fold"] for job in world.jobs(owner_name="run")) == ["1", "2"]
    assert len(new) == 2, "fold 0 is not trained again"
    status = world.status("TrainingRun", "run")
    assert world.condition("TrainingRun", "run")[:2] == ("False", "Starting")
    assert world.condition("TrainingRun", "run", "Trained")[0] == "False"
    assert world.condition("TrainingRun", "run", "Reconciling")[0] == "True"
    assert status["foldsDone"] == "1/3"
    assert not {"completionTime", "meanDice"} & status.keys()
    assert world.fold("run") == before
    said = [event.message for _, event in world.events if event.reason == "FoldsAdded"]
    assert said == ["fold 1, fold 2: added to spec.folds. What is trained stays as it is."]

    for job in world.jobs(owner_name="run"):
        world.finish(job)
    world.settle()
    status = world.status("TrainingRun", "run")
    assert (status["foldsDone"], status["meanDice"], status["dice"]) == ("3/3", 0.85, "0.850")
    assert world.condition("TrainingRun", "run")[0] == "True"
    message = world.condition("TrainingRun", "run")[2]
    assert all(f"fold {fold} is trained" in message for fold in range(3))
    assert "mean validation Dice 0.8500" in message
    assert world.fold("run") == before


def test_all_folds_of_a_run_have_one_seed_and_one_digest_of_inputs(train: Train) -> None:
    world = train(folds=["0"])
    first = world.order(world.job(owner_name="run"))
    world.finish(world.job(owner_name="run"))
    world.settle()
    world.edit("TrainingRun", "run", folds=["0", "1"])
    world.settle()
    later = world.order(world.job(owner_name="run", fold="1"))
    assert {key: later[key] for key in later if key != "fold"} == {key: first[key] for key in first if key != "fold"}
    assert world.fold("run", "1")["input"] == world.fold("run", "0")["input"]


def test_a_fold_that_is_added_while_another_trains_begins_beside_it(train: Train) -> None:
    world = train(folds=["0"])
    running = world.job(owner_name="run")
    world.run(running)
    world.settle()
    world.edit("TrainingRun", "run", folds=["3", "0"])
    world.settle()
    assert len(world.jobs(owner_name="run")) == 2
    assert world.job(fold="0")["metadata"]["name"] == running["metadata"]["name"]
    assert [row["name"] for row in world.status("TrainingRun", "run")["folds"]] == ["3", "0"]


def test_added_folds_keep_to_the_parallelism(train: Train) -> None:
    world = finished(train, maxParallelFolds=1)
    world.edit("TrainingRun", "run", folds=["0", "1", "2"])
    world.settle()
    assert len(world.jobs(owner_name="run")) == 1


def test_a_failed_fold_is_not_tried_again_because_others_are_added(train: Train) -> None:
    world = train(folds=["0"])
    world.fail(world.job(owner_name="run"), 78)
    world.settle()
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "True"
    world.edit("TrainingRun", "run", folds=["0", "1"])
    world.settle()
    assert world.fold("run")["state"] == "Failed"
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "-"
    world.finish(world.job(owner_name="run", fold="1"))
    world.settle()
    assert world.status("TrainingRun", "run")["foldsDone"] == "1/2"
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "True"


def test_added_folds_are_not_trained_on_other_plans(train: Train) -> None:
    world = finished(train)
    world.edit("Plans", "plans", rerun="2")
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    world.finish(world.job(step="dataset"), report_of(world.job(step="dataset"), "2"))
    world.settle()
    for step in ("plan", "preprocess"):
        for job in world.jobs(step=step):
            world.finish(job, report_of(job, "2"))
        world.settle()
    world.edit("TrainingRun", "run", folds=["0", "1"])
    world.settle()
    assert world.jobs(owner_name="run") == []
    assert world.condition("TrainingRun", "run")[1] == "ReferenceChanged"


@pytest.mark.parametrize("folds", [["0"], [0], ["all"]])
def test_what_is_not_added_to_says_nothing(train: Train, folds: list[str | int]) -> None:
    world = train(folds=folds)
    world.finish(world.job(owner_name="run"))
    world.settle()
    world.edit("TrainingRun", "run", folds=[str(fold) for fold in folds])
    world.settle()
    assert not [event for _, event in world.events if event.reason == "FoldsAdded"]
    assert world.condition("TrainingRun", "run")[0] == "True"


def test_a_time_to_live_counts_from_the_end_of_the_last_fold(train: Train) -> None:
    world = finished(train, ttlSecondsAfterFinished=3600)
    world.edit("TrainingRun", "run", folds=["0", "1"])
    world.settle()
    world.wait(hours=2)
    world.settle()
    assert world.status("TrainingRun", "run")["foldsDone"] == "1/2", "it is still there"
    world.finish(world.job(owner_name="run", fold="1"))
    world.settle()
    world.wait(minutes=50)
    world.settle()
    assert world.status("TrainingRun", "run")["foldsDone"] == "2/2"
    world.wait(minutes=11)
    world.settle()
    assert world.get("TrainingRun", "default", "run") is None
