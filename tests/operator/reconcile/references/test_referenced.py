"""What waits for what, how it is said, and how it heals."""

from __future__ import annotations

from nnunet_trainer.contract.report import Error
from support.objects import API, dataset, plans, run, transfer
from support.world import MemoryWorld


def test_what_does_not_exist_is_named_with_the_field_that_names_it() -> None:
    world = MemoryWorld()
    world.put(plans())
    world.put(run())
    world.settle()
    assert world.condition("Plans", "plans")[1:] == (
        "WaitingForDataset",
        "waits for Dataset data (spec.datasetRef), which does not exist",
    )
    assert world.condition("TrainingRun", "run")[1] == "WaitingForPlans"
    world.remove("Plans", "plans")
    world.settle()
    assert "Plans plans (spec.plansRef), which does not exist" in world.condition("TrainingRun", "run")[2]


def test_a_failed_dependency_is_passed_on_and_heals() -> None:
    world = MemoryWorld()
    for manifest in (dataset(), plans(), transfer(), run()):
        world.put(manifest)
    world.settle()
    error = Error(
        code=65, reason="InvalidCases", message="2 of 260 cases: hippocampus_017: the label holds the value 7", hint="Repair."
    )
    world.fail(world.job(step="dataset"), 65, error=error)
    world.settle()
    assert world.condition("Dataset", "data", "Verified")[:2] == ("False", "InvalidCases")
    for kind, name in (("Plans", "plans"), ("PlanTransfer", "moved"), ("Plans", "moved"), ("TrainingRun", "run")):
        assert world.condition(kind, name)[:2] == ("False", "DependencyFailed")
        assert world.condition(kind, name, "Stalled")[0] == "True"
    assert "hippocampus_017" in world.condition("Plans", "plans")[2]
    world.edit("Dataset", "data", rerun="repaired")
    world.settle()
    assert world.condition("Plans", "plans")[1] == "WaitingForDataset"
    for _ in range(6):
        for job in world.jobs():
            if not job.get("status"):
                world.finish(job)
        world.settle()
    assert world.condition("TrainingRun", "run")[0] == world.condition("PlanTransfer", "moved")[0] == "True"


def test_a_dependency_that_cannot_be_read_is_said(prepared: MemoryWorld) -> None:
    prepared.edit("Plans", "plans", preprocessing={"shards": "many"})
    prepared.put(run())
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "DependencyFailed"


def test_a_failure_is_told_once_however_long_the_chain_is() -> None:
    world = MemoryWorld()
    chain = (
        ("Dataset", "data", {"name": "Dataset004_Hippocampus", "source": {"uri": "s3://nnunet/raw"}}),
        ("Plans", "plans", {"datasetRef": {"name": "data"}}),
        ("TrainingRun", "source", {"plansRef": {"name": "plans"}, "folds": ["all"]}),
        ("TrainingRun", "run", {"plansRef": {"name": "plans"}, "folds": ["0"], "pretrained": {"runRef": {"name": "source"}}}),
    )
    for kind, name, spec in chain:
        world.put({"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec})
    world.settle()
    error = Error(
        code=65, reason="InvalidCases", message="2 of 260 cases are faulty. One is case_1: no label.", hint="Repair the files."
    )
    world.fail(world.job(step="dataset"), 65, error=error)
    world.settle()
    behind = "Dataset data is stalled (InvalidCases): reading Dataset004_Hippocampus (attempt 1): 2 of 260 cases are faulty. "
    heals = "See there; this goes on by itself once that is mended."
    assert world.condition("Plans", "plans")[2] == behind + heals
    for name in ("source", "run"):
        assert world.condition("TrainingRun", name)[2] == f"by way of Plans plans: {behind}{heals}"
    assert world.condition("Plans", "plans", "Preprocessed")[2] == "waits for the plans"
    assert world.condition("Dataset", "data", "Fingerprinted")[2] == "waits for the data to be verified"
    assert "One is case_1: no label. Repair the files." in world.condition("Dataset", "data")[2], "Ready says all"
    assert world.condition("Dataset", "data", "Stalled")[2].endswith("2 of 260 cases are faulty"), "Stalled the first sentence"
