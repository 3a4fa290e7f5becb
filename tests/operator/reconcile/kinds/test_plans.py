"""A Plans: what it says, and what it does when its dataset or its spec changes."""

from __future__ import annotations

import pytest
from nnunet_operator.reconcile.view import Heard
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.report import Error, Report
from support.objects import API, dataset, finish, finish_open, plans, resource, run
from support.world import CHAIN, MemoryWorld, report_of


def test_a_plans_with_an_unknown_configuration_preprocesses_the_others() -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.put(plans(preprocessing={"configurations": ["3d_lowres", "3d_fullres"]}))
    for step in ("dataset", "plan"):
        world.settle()
        world.finish(world.job(step=step))
    world.settle()
    world.finish(world.job(step="preprocess"))
    world.settle()
    status, reason, message = world.condition("Plans", "plans")
    assert (status, reason) == ("False", "UnknownConfiguration")
    assert "'3d_lowres'" in message
    assert world.status("Plans", "plans")["cases"] == "12/12"


def test_a_configuration_is_planned_until_somebody_wants_its_data(prepared: MemoryWorld) -> None:
    def states() -> dict[str, str]:
        return {row["name"]: row["state"] for row in prepared.status("Plans", "plans")["configurations"]}

    assert states() == {"2d": "Planned", "3d_fullres": "Succeeded"}
    prepared.edit("Plans", "plans", preprocessing={"configurations": ["2d", "3d_fullres"]})
    prepared.settle()
    assert states() == {"2d": "Starting", "3d_fullres": "Succeeded"}
    prepared.finish(prepared.job(configuration="2d"))
    prepared.settle()
    assert states() == {"2d": "Succeeded", "3d_fullres": "Succeeded"}


def test_a_dataset_deleted_while_it_is_planned_for_is_not_needed_again() -> None:
    world = MemoryWorld()
    for manifest in (dataset(), plans(), run()):
        world.put(manifest)
    world.settle()
    world.finish(world.job(step="dataset"))
    world.settle()
    world.remove("Dataset", "data")
    world.finish(world.job(step="plan"))
    world.settle()
    assert world.condition("Plans", "plans")[1] == "WaitingForDataset"
    assert world.status("Plans", "plans")["storage"]["uri"] == "s3://nnunet"
    world.put(dataset())
    for step in ("dataset", "preprocess", "train"):
        world.settle()
        world.finish(world.job(step=step))
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"


def test_shards_are_one_indexed_job_and_their_cases_add_up() -> None:
    world = MemoryWorld()
    world.put(CHAIN.replace("[3d_fullres]", "[3d_fullres], shards: 3"))
    for step in ("dataset", "plan"):
        world.settle()
        world.finish(world.job(step=step))
    world.settle()
    job = world.job(step="preprocess")
    assert (job["spec"]["completions"], world.order(job)["shards"]) == (3, 3)
    for pod, done in zip(world.run(job), (2, 3, 1), strict=True):
        said = Progress(step="preprocess", phase="preprocessing", done=done, total=4)
        world.heard[pod["metadata"]["uid"]] = Heard(progress=said, at=world.now)
    world.settle()
    assert world.status("Plans", "plans")["cases"] == "6/12"
    assert "6 of 12 cases preprocessed" in world.condition("Plans", "plans")[2]
    world.fail(job, 137)
    world.wait(seconds=10)
    world.settle()
    world.finish(world.job(step="preprocess"))
    world.settle()
    assert world.status("Plans", "plans")["cases"] == "12/12"


def test_planned_says_what_was_planned_and_what_is_to_be_heeded() -> None:
    world = MemoryWorld()
    dataset = {"name": "Dataset004_Hippocampus", "source": {"uri": "s3://nnunet/raw"}}
    world.put({"apiVersion": API, "kind": "Dataset", "metadata": {"name": "data"}, "spec": dataset})
    world.put({"apiVersion": API, "kind": "Plans", "metadata": {"name": "plans"}, "spec": {"datasetRef": {"name": "data"}}})
    world.settle()
    finish(world, "dataset")
    report = report_of(world.job(step="plan"))
    full = {"patchSize": [40, 56, 40], "batchSize": 2, "spacing": [1.0, 0.78125, 1.0], "estimatedGpuMemoryGB": 7.53}
    summary = {**report.summary, "configurations": {"3d_fullres": full}, "warnings": ["No 3d_lowres.", "A large batch"]}
    world.finish(world.job(step="plan"), Report(step="plan", artifacts=report.artifacts, summary=summary))
    world.settle()
    assert world.condition("Plans", "plans", "Planned")[2] == (
        "nnUNetPlans: 3d_fullres: patch 40×56×40, batch 2, spacing 1×0.781×1 mm, about 7.53 GB. Warning: No 3d_lowres. "
        "Warning: A large batch"
    )


@pytest.mark.parametrize("step", ["plan", "preprocess"])
def test_a_dataset_that_was_restored_heals_the_plans(step: str) -> None:
    world = MemoryWorld()
    dataset = {"name": "Dataset004_Hippocampus", "source": {"uri": "s3://nnunet/raw"}}
    world.put({"apiVersion": API, "kind": "Dataset", "metadata": {"name": "data"}, "spec": dataset})
    world.put({"apiVersion": API, "kind": "Plans", "metadata": {"name": "plans"}, "spec": {"datasetRef": {"name": "data"}}})
    world.settle()
    finish(world, "dataset")
    if step == "preprocess":
        finish(world, "plan")
    world.wait(minutes=1)
    world.fail(world.job(step=step), 65, error=Error(code=65, reason="DatasetChanged", message="case_1 has changed"))
    world.settle()
    assert world.condition("Plans", "plans")[1] == "DatasetChanged"
    world.wait(minutes=1)
    world.edit("Dataset", "data", rerun="restored")
    world.settle()
    assert world.condition("Plans", "plans")[1] == "DatasetChanged", "not before it was read"
    finish(world, "dataset", "1")
    assert world.condition("Plans", "plans")[1] == "Starting"
    world.fail(world.job(step=step, attempt="1"), 65, error=Error(code=65, reason="DatasetChanged", message="case_1 has changed"))
    world.settle()
    assert world.condition("Plans", "plans")[1] == "DatasetChanged", "once for each reading"


@pytest.mark.parametrize("state", ["waiting", "planning", "preprocessing", "ready"])
def test_a_dataset_that_is_deleted_under_its_plans(state: str) -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.put(resource("Plans", "plans", datasetRef={"name": "data"}))
    world.put(resource("TrainingRun", "run", plansRef={"name": "plans"}, folds=["0"]))
    world.settle()
    for step in {"waiting": (), "planning": ("dataset",), "preprocessing": ("dataset", "plan")}.get(
        state, ("dataset", "plan", "preprocess")
    ):
        finish_open(world, step=step)
    running = [job["metadata"]["name"] for job in world.jobs() if job["metadata"]["labels"]["nnunet.dev/owner-kind"] == "Plans"]
    world.remove("Dataset", "data")
    world.settle()
    still = [job["metadata"]["name"] for job in world.jobs() if job["metadata"]["labels"]["nnunet.dev/owner-kind"] == "Plans"]
    assert still == running, "what was begun goes on"
    if state == "ready":
        assert world.condition("Plans", "plans")[0] == "True"
        assert world.condition("TrainingRun", "run")[1] == "Starting", "all that it needs is there"
        return
    for step in {"planning": ("plan",), "preprocessing": ("preprocess",)}.get(state, ()):
        finish_open(world, step=step)
    if state == "preprocessing":
        assert world.condition("Plans", "plans")[0] == "True"
        return
    status, reason, message = world.condition("Plans", "plans")
    assert (status, reason) == ("False", "WaitingForDataset")
    assert "Dataset data (spec.datasetRef), which does not exist" in message
    world.put(dataset())
    world.settle()
    for step in ("dataset", *(("plan",) if state == "waiting" else ()), "preprocess"):
        finish_open(world, step=step)
    assert world.condition("Plans", "plans")[0] == "True", "another of that name, with the same data, will do"


def test_another_dataset_of_the_same_name_and_other_data(prepared: MemoryWorld) -> None:
    world = prepared
    world.remove("Dataset", "data")
    world.settle()
    assert world.condition("Plans", "plans")[0] == "True"
    world.put(dataset())
    world.settle()
    finish_open(world, "2", step="dataset")
    assert world.condition("Plans", "plans")[1] == "Starting"
    assert world.job(step="plan", attempt="1")
