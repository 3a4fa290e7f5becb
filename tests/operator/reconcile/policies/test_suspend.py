"""`spec.suspend`: what runs is stopped with a checkpoint, and goes on uncounted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.objects import finish_open
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_suspend_stops_with_a_checkpoint_and_resume_goes_on_uncounted(train: Train) -> None:
    world = train(failurePolicy={"maxRestarts": 0})
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=7, epochs=10)
    world.settle()
    world.edit("TrainingRun", "run", suspend=True)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Suspending"
    assert not world.jobs(), "the Job is deleted, its pod gets its grace"
    world.edit("TrainingRun", "run", suspend=False)
    world.settle()
    assert not world.jobs(), "nothing starts beside a pod that still saves"
    world.end_deletions()
    world.settle()
    fold = world.fold("run")
    assert (fold["attempt"], fold["restarts"], fold["disruptions"]) == (1, 0, 0)
    world.edit("TrainingRun", "run", suspend=True)
    world.settle()
    world.end_deletions()
    world.settle()
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "Suspended")
    assert "epoch 7" in message
    assert world.condition("TrainingRun", "run", "Reconciling")[0] == world.condition("TrainingRun", "run", "Stalled")[0] == "-"


def test_what_ended_before_the_suspension_is_kept(train: Train) -> None:
    world = train(folds=["0", "1"])
    world.finish(world.job(fold="0"))
    world.edit("TrainingRun", "run", suspend=True)
    world.settle()
    assert (world.fold("run", "0")["state"], world.fold("run", "1")["state"]) == ("Succeeded", "Suspended")


def test_a_run_that_is_created_suspended_makes_nothing(train: Train) -> None:
    world = train(suspend=True)
    assert not world.jobs()
    world.edit("TrainingRun", "run", suspend=False)
    world.settle()
    assert len(world.jobs()) == 1


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
    finish_open(world, owner_name="run")
    assert world.condition("TrainingRun", "run")[0] == "True"
