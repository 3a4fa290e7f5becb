"""What the trainer says to do about damaged artifacts is done, and the run that had failed succeeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nnunet_trainer.artifacts.artifact import REMAKE
from nnunet_trainer.contract.report import LONGEST_HINT, Error
from support.world import CHAIN, MemoryWorld

Train = Callable[..., MemoryWorld]
HINT = f"Delete that file, then {REMAKE}"


def finish_all(world: MemoryWorld) -> list[str]:
    """Finish what is asked for, until nothing is; the steps that were done."""
    done = []
    for _ in range(6):
        for job in world.jobs():
            if not job.get("status"):
                done.append(world.order(job)["step"])
                world.finish(job)
        world.settle()
    return done


def fail(world: MemoryWorld, reason: str) -> None:
    error = Error(code=65, reason=reason, message="s3://b/preprocessed/x: cases/a.b2nd has 10 bytes", hint=HINT)
    world.fail(world.job(owner_name="run"), 65, error=error)
    world.settle()


@pytest.mark.parametrize("reason", ["ArtifactIncomplete", "ArtifactDamaged", "InvalidPreprocessedData"])
def test_plans_that_are_applied_again_make_what_is_missing(train: Train, reason: str) -> None:
    world = train()
    fail(world, reason)
    assert len(HINT) <= LONGEST_HINT
    assert HINT in world.condition("TrainingRun", "run")[2]
    world.remove("Plans", "plans")
    world.settle()
    world.put(CHAIN)
    world.settle()
    made = finish_all(world)
    assert {"plan", "preprocess"} <= set(made)
    assert "train" not in made
    world.edit("TrainingRun", "run", rerun="the data is made anew")
    world.settle()
    assert finish_all(world) == ["train"]
    assert world.condition("TrainingRun", "run")[0] == "True"


def test_a_dataset_makes_its_artifact_again(train: Train) -> None:
    world = train()
    fail(world, "ArtifactIncomplete")
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    assert "dataset" in finish_all(world)
    world.edit("TrainingRun", "run", rerun="2")
    world.settle()
    assert finish_all(world) == ["train"]


def test_a_run_that_is_applied_again_trains_what_is_missing(train: Train) -> None:
    world = train()
    finish_all(world)
    assert world.condition("TrainingRun", "run")[0] == "True"
    world.remove("TrainingRun", "run")
    world.settle()
    train()
    assert finish_all(world) == ["train"]
    assert world.condition("TrainingRun", "run")[0] == "True"
