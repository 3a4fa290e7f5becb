"""`spec.seed`, and what stands for it: another seed is another address, where nothing is found again."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.reconcile.policies import seed
from nnunet_operator.reconcile.view import Key
from support.objects import run
from support.world import MemoryWorld

KEY = Key("TrainingRun", "default", "run")
BY_NAME = seed.of_name("default", "run")


def ordered(world: MemoryWorld, **labels: str) -> int:
    found: int = world.order(world.job(owner_name="run", **labels))["seed"]
    return found


def uid_of(world: MemoryWorld) -> str:
    uid: str = world.objects[KEY]["metadata"]["uid"]
    return uid


def test_the_numbers_themselves() -> None:
    assert seed.of_name("default", "run") == 3947535046
    assert seed.of_name("team-a", "finetune") != seed.of_name("team-b", "finetune")
    assert seed.of_uid("000001-0000") == 2689475439


def test_a_run_made_anew_has_the_seed_that_it_had(prepared: MemoryWorld) -> None:
    world, seeds, uids = prepared, [], []
    for _ in range(2):
        world.put(run(folds=["0", "1"]))
        world.settle()
        assert world.status("TrainingRun", "run")["seed"] == BY_NAME
        seeds += [ordered(world, fold=fold) for fold in ("0", "1")]
        uids.append(uid_of(world))
        world.remove("TrainingRun", "run")
    assert seeds == [BY_NAME] * 4
    assert uids[0] != uids[1]


def test_a_seed_that_is_asked_for_counts(prepared: MemoryWorld) -> None:
    prepared.put(run(seed=0))
    prepared.settle()
    assert (ordered(prepared), prepared.status("TrainingRun", "run")["seed"]) == (0, 0)


def left_by_0_1_0(**fold: Any) -> dict[str, Any]:
    return {"observedGeneration": 1, "folds": [{"name": "0", **fold}]}


@pytest.mark.parametrize(
    ("fold", "begun"),
    [
        ({"state": "Pending"}, False),
        ({"state": "Pending", "reason": "WaitingForPlans"}, False),
        ({"state": "Starting", "attempt": 0}, True),
        ({"state": "BackingOff", "attempt": 0}, True),
        ({"state": "Suspended", "attempt": 2}, True),
        ({"state": "Pending", "attempt": 1}, True),
    ],
)
def test_a_run_of_version_0_1_0_keeps_its_seed_once_it_has_begun(prepared: MemoryWorld, fold: dict[str, Any], begun: bool) -> None:
    world = prepared
    world.put(run())["status"] = left_by_0_1_0(**fold)
    world.settle()
    wanted = seed.of_uid(uid_of(world)) if begun else BY_NAME
    assert (ordered(world), world.status("TrainingRun", "run")["seed"]) == (wanted, wanted)


@pytest.mark.parametrize("annotation", [None, "", "x", str(2**32), "²"])
def test_a_job_of_version_0_1_0_whose_status_was_not_written(prepared: MemoryWorld, annotation: str | None) -> None:
    world = prepared
    world.put(run())
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    world.carry_out(KEY, outcome, steps=2)  # its order and its Job; killed before the status
    job = world.job(owner_name="run")
    annotations = job["metadata"]["annotations"]
    del annotations["nnunet.dev/seed"]
    if annotation is not None:
        annotations["nnunet.dev/seed"] = annotation
    world.settle()
    assert world.status("TrainingRun", "run")["seed"] == seed.of_uid(uid_of(world))


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_killed_while_it_begins_a_run_keeps_one_seed(prepared: MemoryWorld, steps: int) -> None:
    world = prepared
    world.put(run())
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    world.carry_out(KEY, outcome, steps=steps)
    world.settle()
    assert (ordered(world), world.status("TrainingRun", "run")["seed"]) == (BY_NAME, BY_NAME)
    world.disrupt(world.job(owner_name="run"))
    world.settle()
    assert ordered(world, attempt="1") == BY_NAME
