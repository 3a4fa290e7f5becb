"""Each thing is an event once."""

from __future__ import annotations

from collections.abc import Callable

from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_each_retry_is_one_warning(train: Train) -> None:
    world = train()
    world.fail(world.job(owner_name="run"), 74)
    world.settle()
    warnings = [event for key, event in world.events if key.name == "run" and event.type == "Warning"]
    assert [event.reason for event in warnings] == ["StorageUnavailable"]
    assert "StorageUnavailable" not in [event.reason for _, event in world.events if event.type == "Normal"]


def test_a_fold_that_waits_for_its_next_attempt_is_told_once(train: Train) -> None:
    world = train(folds=["0", "1"])
    first, second = world.jobs(owner_name="run")
    world.run(second)
    world.settle()
    world.fail(first, 74)
    world.settle()
    world.finish(second)  # now the other fold is all that there is to say of the run
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "StorageUnavailable"
    told = [event for key, event in world.events if key.name == "run" and event.reason == "StorageUnavailable"]
    assert [event.type for event in told] == ["Warning"]
