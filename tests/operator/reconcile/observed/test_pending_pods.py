"""Why a pod does not run yet, in words."""

from __future__ import annotations

from collections.abc import Callable

from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_a_job_without_pods_is_explained_after_a_while(train: Train) -> None:
    world = train()
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again is not None
    assert "attempt 1 is being started" in world.condition("TrainingRun", "run")[2]
    world.wait(seconds=61)
    world.settle()
    assert "quota" in world.condition("TrainingRun", "run")[2]


def test_a_slow_start_is_explained_after_a_while(train: Train) -> None:
    world = train()
    world.hold(world.job(owner_name="run"), "ContainerCreating")
    before = world.writes
    world.settle()
    assert world.writes == before, "an ordinary start is not worth a write"
    world.wait(seconds=61)
    world.settle()
    assert "has been starting (image, volumes) since" in world.condition("TrainingRun", "run")[2]
