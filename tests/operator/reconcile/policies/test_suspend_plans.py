"""`spec.suspend` of a Plans and of a PlanTransfer: nothing of it runs, and what is preprocessed stays."""

from __future__ import annotations

import pytest
from support.world import CHAIN, MemoryWorld, report_of

BOTH = {"configurations": ["2d", "3d_fullres"]}


def world_until(step: str) -> MemoryWorld:
    """A world in which a Plans' Job of this step has been asked for."""
    world = MemoryWorld()
    world.put(CHAIN)
    world.edit("Plans", "plans", preprocessing=BOTH)
    world.settle()
    while not world.jobs(step=step):
        for job in world.jobs():
            world.finish(job)
        world.settle()
    return world


def row(world: MemoryWorld, name: str) -> dict[str, object]:
    found: dict[str, object] = next(row for row in world.status("Plans", "plans")["configurations"] if row["name"] == name)
    return found


@pytest.mark.parametrize("step", ["plan", "preprocess"])
def test_what_runs_is_stopped_and_goes_on_uncounted(step: str) -> None:
    world = world_until(step)
    for job in world.jobs(step=step):
        world.run(job)
    world.settle()
    world.edit("Plans", "plans", suspend=True)
    world.settle()
    assert not world.jobs(step=step)
    assert world.condition("Plans", "plans")[:2] == ("False", "Suspending")
    assert "what is done stays" in world.condition("Plans", "plans")[2]
    world.end_deletions()
    world.settle()
    assert world.condition("Plans", "plans")[:2] == ("False", "Suspended")
    assert world.condition("Plans", "plans", "Reconciling")[0] == world.condition("Plans", "plans", "Stalled")[0] == "-"
    world.edit("Plans", "plans", suspend=False)
    for _ in range(3):
        world.settle()
        for job in world.jobs():
            assert job["metadata"]["labels"]["nnunet.dev/attempt"] == (
                "1" if job["metadata"]["labels"]["nnunet.dev/step"] == step else "0"
            )
            world.finish(job)
    world.settle()
    assert world.condition("Plans", "plans")[0] == "True"
    assert all(row(world, name).get("restarts", 0) == 0 for name in ("2d", "3d_fullres"))


def test_cases_that_are_preprocessed_stay_and_the_same_order_goes_on() -> None:
    world = world_until("preprocess")
    job = world.job(configuration="2d")
    world.run(job)
    world.say(job, phase="preprocessing", done=5, total=12)
    world.settle()
    assert row(world, "2d")["casesDone"] == 5
    before = world.order(job)
    world.finish(world.job(configuration="3d_fullres"))
    world.edit("Plans", "plans", suspend=True)
    world.settle()
    world.end_deletions()
    world.settle()
    assert (row(world, "3d_fullres")["state"], row(world, "2d")["state"]) == ("Succeeded", "Suspended")
    assert row(world, "2d")["casesDone"] == 5
    world.edit("Plans", "plans", suspend=False)
    world.settle()
    assert world.order(world.job(configuration="2d")) == before, "its shards find the markers of what is done"


def test_what_is_created_suspended_makes_nothing_and_waits_for_nothing() -> None:
    world = MemoryWorld()
    world.put(CHAIN)
    world.edit("Plans", "plans", suspend=True)
    world.settle()
    world.finish(world.job(owner_name="data"))
    world.settle()
    assert not world.jobs(owner_name="plans")
    assert world.condition("Plans", "plans")[:2] == ("False", "Suspended")
    assert world.outcome("Plans", "plans").look_again is None  # type: ignore[union-attr]


def test_another_dataset_does_not_start_what_is_suspended() -> None:
    world = world_until("preprocess")
    world.edit("Plans", "plans", suspend=True)
    world.settle()
    world.end_deletions()
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    job = world.job(owner_name="data")
    world.finish(job, report_of(job, version="2"))
    world.settle()
    assert not world.jobs(owner_name="plans")
    assert world.condition("Plans", "plans")[1] == "Suspended"


def test_a_transfer_is_suspended_as_its_plans_is() -> None:
    world = world_until("preprocess")
    for _ in range(2):
        for job in world.jobs():
            world.finish(job)
        world.settle()
    spec = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    transfer = {"apiVersion": "nnunet.dev/v1alpha1", "kind": "PlanTransfer", "metadata": {"name": "moved"}}
    world.put({**transfer, "spec": {**spec, "suspend": True}})
    world.settle()
    assert not world.jobs(owner_name="moved")
    assert world.condition("PlanTransfer", "moved")[:2] == ("False", "Suspended")
    assert world.condition("PlanTransfer", "moved", "Reconciling")[0] == "-"
    world.edit("PlanTransfer", "moved", suspend=False)
    world.settle()
    assert world.job(owner_name="moved")["metadata"]["labels"]["nnunet.dev/step"] == "transfer"
