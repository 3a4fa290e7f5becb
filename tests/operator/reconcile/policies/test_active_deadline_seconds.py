"""`spec.activeDeadlineSeconds` counts running time alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_the_active_deadline_counts_running_time_alone(train: Train) -> None:
    world = train(activeDeadlineSeconds=3600)
    world.wait(hours=5)
    world.run(world.job(attempt="0"))
    world.settle()
    world.wait(minutes=40)
    world.disrupt(world.job(attempt="0"))
    world.settle()
    world.wait(hours=9)
    world.settle()
    world.run(world.job(attempt="1"))
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again is not None
    assert outcome.look_again.total_seconds() <= 1200
    world.settle()
    world.wait(minutes=19)
    world.settle()
    assert world.fold("run")["state"] == "Running"
    world.wait(minutes=2)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "DeadlineExceeded"
    world.end_deletions()
    world.settle()
    assert not world.jobs()
    world.edit("TrainingRun", "run", rerun="1")
    world.settle()
    assert world.fold("run")["state"] == "Starting"


@pytest.mark.parametrize("deadline", [10**9, 10**12, 2**63 - 1])
def test_a_deadline_that_nobody_lives_to_see_is_none(train: Train, deadline: int) -> None:
    world = train(activeDeadlineSeconds=deadline)
    world.run(world.job(attempt="0"))
    world.settle()
    world.wait(days=1000)
    world.settle()
    assert world.fold("run")["state"] == "Running"
    world.finish(world.job(attempt="0"))
    world.settle()
    assert world.fold("run")["state"] == "Succeeded"
