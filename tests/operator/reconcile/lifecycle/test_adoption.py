"""A Job whose status was never written (a kill, a refusal): what it works on is told from its order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from nnunet_operator.reconcile.view import Key
from support.world import CHAIN, KINDS, MemoryWorld

QUICKSTART = sorted((Path(__file__).parents[4] / "examples/quickstart").glob("[0-9]*.yaml"))
DOCUMENTS = [document for file in QUICKSTART for document in yaml.safe_load_all(file.read_text())]
TRANSFER = next(document["metadata"]["name"] for document in DOCUMENTS if document["kind"] == "PlanTransfer")


def turn_with_lost_statuses(world: MemoryWorld) -> None:
    """One pass over all, in which each status that follows the creation of Jobs is lost."""
    for key in [key for key in world.objects if key.kind in KINDS]:
        outcome = world.outcome(key.kind, key.name)
        assert outcome is not None
        steps = len(outcome.apply) + len(outcome.create) if outcome.create else None
        world.carry_out(key, outcome, steps=steps)


def inputs(world: MemoryWorld) -> dict[str, Any]:
    """What all works of all objects were started from."""
    found: dict[str, Any] = {}
    for key in [key for key in world.objects if key.kind in KINDS]:
        status = world.status(key.kind, key.name)
        works = [status.get("work"), *status.get("folds", []), *status.get("configurations", [])]
        found |= {f"{key.name} {i}": work.get("input") for i, work in enumerate(works) if work}
    return found


def run_chain(*, lost: bool) -> MemoryWorld:
    world = MemoryWorld()
    for document in DOCUMENTS:
        world.put(document)
    for _ in range(40):
        if lost:
            turn_with_lost_statuses(world)
        world.settle()
        for job in world.jobs():
            if not job.get("status", {}).get("conditions"):
                world.finish(job)
    return world


def test_the_whole_chain_ends_as_if_no_status_had_been_lost() -> None:
    world, undisturbed = run_chain(lost=True), run_chain(lost=False)
    for document in DOCUMENTS:
        kind, name = document["kind"], document["metadata"]["name"]
        assert world.condition(kind, name)[0] == "True", world.condition(kind, name)
    assert sorted(world.created) == sorted(undisturbed.created), "nothing is done twice"
    assert inputs(world) == inputs(undisturbed)
    for kind, name in (("Plans", "hippocampus"), ("PlanTransfer", TRANSFER)):
        of = ("storage", "dataset", "datasetName", "layout", "source")
        assert {k: world.status(kind, name).get(k) for k in of} == {k: undisturbed.status(kind, name).get(k) for k in of}


@pytest.mark.parametrize("finished", [False, True], ids=["at-work", "finished"])
def test_what_was_planned_on_another_dataset_is_planned_anew(finished: bool) -> None:
    """The dataset became another one between the Job's creation and the pass that finds it."""
    world = MemoryWorld()
    for document in yaml.safe_load_all(CHAIN):
        world.put(document)
    world.settle()
    world.finish(world.job(owner_name="data"))
    key = Key("Dataset", "default", "data")
    outcome = world.outcome("Dataset", "data")
    assert outcome is not None
    world.carry_out(key, outcome)
    planned = world.outcome("Plans", "plans")
    assert planned is not None
    assert planned.create
    world.carry_out(Key("Plans", "default", "plans"), planned, steps=len(planned.apply) + len(planned.create))
    (first,) = world.jobs(owner_name="plans")
    world.status("Dataset", "data")["artifact"]["digest"] = "another" + "0" * 57
    if finished:
        world.finish(first)
    for _ in range(5):
        world.settle()
        world.end_deletions()
        world.wait(minutes=5)
    jobs = {name for name in world.created if name.startswith("plans-") and "-plan-" in name}
    assert len(jobs) > 1, "of the older order alone nothing follows"
    assert first["metadata"]["name"] not in [job["metadata"]["name"] for job in world.jobs(owner_name="plans")]
