"""An object that cannot be read."""

from __future__ import annotations

from collections.abc import Callable

from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_what_cannot_be_read_is_said_and_left_alone(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.edit("TrainingRun", "run", folds=["first"])
    world.settle()
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "spec.folds[0]" in message
    assert world.jobs() == [job], "what runs goes on"
    assert world.fold("run")["attempt"] == 0, "and nothing of the status is lost"
    world.edit("TrainingRun", "run", folds=["0"])
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Starting"
