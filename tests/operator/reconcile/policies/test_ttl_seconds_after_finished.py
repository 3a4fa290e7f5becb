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
