"""`spec.ttlSecondsAfterFinished`: the object goes after its time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nnunet_operator.reconcile.view import Key
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_a_finished_object_goes_after_its_time(train: Train, end: str) -> None:
    world = train(ttlSecondsAfterFinished=60)
    job = world.job(owner_name="run")
    world.finish(job) if end == "finish" else world.fail(job, 78)
    world.settle()
    world.wait(seconds=59)
    world.settle()
    assert Key("TrainingRun", "default", "run") in world.objects
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again is not None
    world.wait(seconds=2)
    world.turn()
    assert Key("TrainingRun", "default", "run") not in world.objects
    assert world.events[-1][1].reason == "Deleted"


@pytest.mark.parametrize("ttl", [10**9, 10**12, 2**63 - 1])
def test_a_time_that_nobody_lives_to_see_is_for_ever(train: Train, ttl: int) -> None:
    world = train(ttlSecondsAfterFinished=ttl)
    world.finish(world.job(owner_name="run"))
    world.settle()
    world.wait(days=10_000)
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"
