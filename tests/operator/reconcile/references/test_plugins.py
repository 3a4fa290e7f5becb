"""`plugins` of every kind reaches its orders and its pods, and what only a plug-in knows is left to the Job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nnunet_trainer.contract.report import Artifact, Report
from support.objects import dataset, first_pass, plans, run
from support.world import MemoryWorld

MINE = [{"configMapName": "mine"}]


def mounted(world: MemoryWorld, job: dict[str, Any]) -> list[dict[str, Any]]:
    volumes = job["spec"]["template"]["spec"]["volumes"]
    return [volume["configMap"] for volume in volumes if volume["name"].startswith("plugin-")]


def test_every_kind_names_the_plugins_of_its_pods() -> None:
    world = MemoryWorld()
    fingerprint = {"extractor": "Mine", "parameters": {"factor": 2}}
    world.put(dataset(plugins=MINE, fingerprint=fingerprint))
    world.put(plans(plugins=MINE, planner={"name": "MinePlanner", "parameters": {"pooling": {"name": "MinePooling", "depth": 3}}}))
    world.put(run(plugins=MINE, trainer={"name": "MineTrainer"}))
    seen = {}
    for _ in range(6):
        world.settle()
        for job in world.jobs():
            if not job.get("status"):
                order = world.order(job)
                seen[order["step"]] = order
                assert mounted(world, job) == [{"name": "mine", "optional": True}], order["step"]
                world.finish(job)
    assert list(seen) == ["dataset", "plan", "preprocess", "train"]
    assert all(order["plugins"] == ["mine"] for order in seen.values())
    assert (seen["dataset"]["extractor"], seen["dataset"]["extractorParameters"]) == ("Mine", {"factor": 2})
    # A trainer of an earlier version would leave them out: it refuses the order instead.
    assert seen["dataset"]["requires"] == {"extractorParameters": "0.2.0", "plugins": "0.2.0"}


def test_a_transfer_passes_them_on() -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.put(plans())
    spec = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "moved", "plugins": MINE}
    world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "PlanTransfer", "metadata": {"name": "moved"}, "spec": spec})
    for step in ("dataset", "plan"):
        world.settle()
        world.finish(world.job(step=step))
    world.settle()
    job = world.job(step="transfer")
    assert world.order(job)["plugins"] == ["mine"]
    assert mounted(world, job) == [{"name": "mine", "optional": True}]


def test_without_plugins_nothing_is_said_of_them(train: Callable[..., MemoryWorld]) -> None:
    world = train()
    assert all("plugins" not in world.order(job) and not mounted(world, job) for job in world.jobs())


@pytest.mark.parametrize(
    ("manifest", "reason", "said"),
    [
        (dataset(fingerprint={"parameters": {"factor": 2}}), "InvalidParameter", "has no such parameter"),
        (plans(planner={"parameters": {"pooling": "Lat"}}), "UnknownPlannerStep", "Did you mean Late"),
        (
            plans(planner={"parameters": {"patchAndBatch": {"name": "BatchBeforePatch", "batch3d": 0}}}),
            "InvalidParameter",
            "spec.planner.parameters.patchAndBatch.batch3d: 0 is out of range; an integer between 1 and 4096",
        ),
        (
            plans(planner={"parameters": {"normalizationRule": {"name": "SameForAll", "scheme": "None"}}}),
            "UnknownNormalizationScheme",
            "There is no normalization scheme named 'None'",
        ),
        (plans(planner={"name": "ExperimentPlanner3D_v21_11GBB"}), "UnknownPlanner", "ExperimentPlanner3D_v21_11GB"),
        (plans(plugins=MINE, planner={"parameters": {"maxPooling": 0}}), "InvalidParameter", "0 is out of range"),
    ],
)
def test_names_are_checked_before_a_job_is_made(manifest: dict[str, Any], reason: str, said: str) -> None:
    world = MemoryWorld()
    found, message, standing = first_pass(manifest, world)
    assert (found, standing) == (reason, "Stalled")
    assert said in message
    assert world.created == []


@pytest.mark.parametrize(
    "manifest",
    [
        plans(planner={"name": "ExperimentPlanner3D_v21_32GB", "perConfiguration": {"2d": {"name": "ExperimentPlanner2D_v21"}}}),
        plans(planner={"parameters": {"pooling": "MinePooling"}}, plugins=MINE),
        dataset(fingerprint={"extractor": "Mine"}, plugins=MINE),
    ],
)
def test_names_that_pass(manifest: dict[str, Any]) -> None:
    assert first_pass(manifest)[2] == "False"


@pytest.mark.parametrize("needed", [True, False])
def test_a_run_names_the_plugins_that_its_plans_need(needed: bool) -> None:
    """Said before a GPU is taken. What only planned is not needed again."""
    world = MemoryWorld()
    world.put(dataset())
    world.put(plans(plugins=MINE))
    world.put(run())
    world.settle()
    world.finish(world.job(step="dataset"))
    world.settle()
    job = world.job(step="plan")
    rows = [{"name": "mine", "version": "", "digest": "ab" * 32, "needed": needed}, {"name": 3}]
    shape = {"patchSize": [8, 8, 8], "batchSize": 2, "preprocessable": True}
    summary = {"plansName": "nnUNetPlans", "configurations": {"3d_fullres": shape}, "plugins": rows}
    world.finish(
        job, Report(step="plan", artifacts=[Artifact(kind="plans", uri="s3://nnunet/plans/x", digest="0a")], summary=summary)
    )
    world.settle()
    assert world.status("Plans", "plans")["plugins"] == [{"name": "mine", "digest": "ab" * 32, "needed": needed}]
    world.finish(world.job(step="preprocess"))
    world.settle()
    if not needed:
        assert len(world.jobs(step="train")) == 1
        return
    _, reason, message = world.condition("TrainingRun", "run")
    assert (reason, world.jobs(step="train")) == ("MissingPlugin", [])
    assert "made with the plug-in mine, which training needs too: name it in spec.plugins" in message
    world.put(run("other", plugins=MINE))
    world.settle()
    assert len(world.jobs(step="train")) == 1
