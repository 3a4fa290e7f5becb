"""How an attempt stands, from its Job and its pods."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from support.world import MemoryWorld, stamp

Train = Callable[..., MemoryWorld]


@pytest.mark.parametrize("code", [0, 143])
def test_a_pod_that_has_ended_is_still_at_work_until_its_job_says_how_it_ended(train: Train, code: int) -> None:
    world = train()
    job = world.job(owner_name="run")
    pod = world.run(job)[0]
    world.say(job, phase="training", epoch=3, epochs=10)
    world.settle()
    before, said = world.status("TrainingRun", "run"), len(world.events)
    ended = {"exitCode": code, "finishedAt": stamp(world.now)}
    pod["status"] |= {"phase": "Failed" if code else "Succeeded"}
    pod["status"]["containerStatuses"] = [{"name": "trainer", "state": {"terminated": ended}}]
    world.wait(seconds=3)
    world.settle()
    assert world.status("TrainingRun", "run") == before
    assert len(world.events) == said
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again == timedelta(seconds=5)
    world.disrupt(job) if code else world.finish(job)
    world.settle()
    assert world.fold("run")["state"] == ("Starting" if code else "Succeeded")


def test_a_job_that_ends_before_its_pod_is_seen_to_end_is_waited_for(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    pod = world.run(job)[0]
    running = pod["status"]["containerStatuses"]
    world.finish(job)
    ended, pod["status"]["containerStatuses"] = pod["status"]["containerStatuses"], running
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again is not None
    assert outcome.status["folds"][0]["state"] == "Starting"
    pod["status"]["containerStatuses"] = ended
    world.settle()
    assert world.fold("run")["state"] == "Succeeded"
