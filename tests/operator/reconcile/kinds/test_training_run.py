"""A TrainingRun: its folds, and what is no business of theirs."""

from __future__ import annotations

from collections.abc import Callable

from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_references_deleted_under_a_run_do_not_stop_it(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    world.remove("Plans", "plans")
    world.remove("Dataset", "data")
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Training"
    world.finish(job)
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"


def test_one_fold_fails_and_the_others_go_on(train: Train) -> None:
    world = train(folds=["0", "1"])
    world.fail(world.job(fold="0"), 78)
    world.run(world.job(fold="1"))
    world.settle()
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "Training")
    assert "fold 0" in message
    world.finish(world.job(fold="1"))
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "BadConfiguration"
    assert world.status("TrainingRun", "run")["foldsDone"] == "1/2"


def test_what_is_idle_is_not_shown(train: Train) -> None:
    world = train()
    assert not {"disruptionsWithoutProgress", "reportsMissed", "outOfMemory"} & world.fold("run").keys()
    world.disrupt(world.job(owner_name="run"))
    world.settle()
    assert world.fold("run")["disruptionsWithoutProgress"] == 1
