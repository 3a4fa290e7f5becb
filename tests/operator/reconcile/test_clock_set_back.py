"""The clock was ahead, and is set right again: what was written by it holds nothing up for hours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]

AHEAD = [{"minutes": 6}, {"hours": 1}, {"hours": 13}, {"days": 400}]


def back(delta: dict[str, int]) -> dict[str, float]:
    return {unit: -value for unit, value in delta.items()}


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("how", ["fails", "is disrupted twice", "its Job is deleted twice"])
def test_a_back_off_of_then_is_over(train: Train, ahead: dict[str, int], how: str) -> None:
    world = train()
    world.wait(**ahead)
    for attempt in range(1 if how == "fails" else 2):
        job = world.job(owner_name="run", attempt=str(attempt))
        match how:
            case "fails":
                world.fail(job, 75)
            case "is disrupted twice":
                world.disrupt(job)
            case _:
                world.run(job)
                world.settle()
                world.remove("Job", job["metadata"]["name"])
        world.settle()
    assert world.fold("run")["state"] == "BackingOff"
    last = world.fold("run")["attempt"]
    world.wait(**back(ahead))
    world.settle()
    outcome = world.outcome("TrainingRun", "run")
    if outcome is not None and not world.jobs(attempt=str(last + 1)):
        assert outcome.look_again is not None
        world.wait(seconds=outcome.look_again.total_seconds())
        assert outcome.look_again.total_seconds() <= 300
        world.settle()
    world.finish(world.job(owner_name="run", attempt=str(last + 1)))
    world.settle()
    assert world.fold("run")["state"] == "Succeeded"


@pytest.mark.parametrize("ahead", AHEAD)
def test_progress_is_heard_again(train: Train, ahead: dict[str, int]) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.wait(**ahead)
    world.say(job, phase="training", epoch=3, epochs=10)
    world.settle()
    world.wait(**back(ahead))
    world.say(job, phase="training", epoch=4, epochs=10)
    world.settle()
    assert world.fold("run")["epoch"] == 4


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("code", [0, 1])
def test_last_words_of_a_job_that_ended_then_are_not_waited_for(train: Train, ahead: dict[str, int], code: int) -> None:
    world = train()
    job = world.job(owner_name="run")
    running: list[dict[str, Any]] = world.run(job)[0]["status"]["containerStatuses"]
    world.wait(**ahead)
    world.finish(job) if code == 0 else world.fail(job, code)
    world.pods(job["metadata"]["name"])[0]["status"]["containerStatuses"] = running  # its end is never seen
    world.wait(**back(ahead))
    world.settle()
    assert world.fold("run")["state"] in ("BackingOff", "Starting")
    assert world.fold("run").get("reportsMissed", 0) == (code == 0)
