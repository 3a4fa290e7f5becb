"""What people read: each thing once, at the object that it is about, and each step of a change as it goes down the chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nnunet_operator.reconcile.status.sentences import first_sentence
from nnunet_trainer.contract.report import Error, Report
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]
API = "nnunet.dev/v1alpha1"


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("One. Two.", "One"),
        ("One", "One"),
        ("dataset.json names 0 to 1.5. Repair it.", "dataset.json names 0 to 1.5"),
        ('it is "x". Then.', 'it is "x"'),
        ("fold 0 (attempt 1): gone (node a). It goes on.", "fold 0 (attempt 1): gone (node a)"),
        ("see https://example.org. more", "see https://example.org. more"),
        ("a" * 300, "a" * 239 + "…"),
        ("", ""),
    ],
)
def test_the_first_sentence(text: str, begins: str) -> None:
    assert first_sentence(text) == begins


def events(world: MemoryWorld, kind: str, name: str, since: int = 0) -> list[tuple[str, str]]:
    return [(event.reason, event.message) for key, event in world.events[since:] if (key.kind, key.name) == (kind, name)]


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


def test_what_is_idle_is_not_shown(train: Train) -> None:
    world = train()
    assert not {"disruptionsWithoutProgress", "reportsMissed", "outOfMemory"} & world.fold("run").keys()
    world.disrupt(world.job(owner_name="run"))
    world.settle()
    assert world.fold("run")["disruptionsWithoutProgress"] == 1


@pytest.mark.parametrize("how", ["fails", "is disrupted", "is suspended"])
def test_no_time_is_left_where_nothing_runs(train: Train, how: str) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=3, epochs=10, eta_seconds=600)
    world.settle()
    assert world.fold("run")["eta"] == "10m"
    match how:
        case "fails":
            world.fail(job, 78)
        case "is disrupted":
            world.disrupt(job)
        case _:
            world.edit("TrainingRun", "run", suspend=True)
    world.turn()
    assert "eta" not in world.fold("run")
    assert world.status("TrainingRun", "run")["eta"] == "-"


def finish(world: MemoryWorld, step: str, version: str = "1", **labels: str) -> None:
    job = world.job(step=step, **labels)
    world.finish(job, report_of(job, version))
    world.settle()


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


def test_a_changed_dataset_is_said_at_each_step(train: Train) -> None:
    world = train()
    world.finish(world.job(owner_name="run"))
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"
    begun = len(world.events)
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    finish(world, "dataset", "2")
    finish(world, "plan", "2")
    finish(world, "preprocess", "2")
    dataset, plans, run = (
        events(world, *key, since=begun) for key in (("Dataset", "data"), ("Plans", "plans"), ("TrainingRun", "run"))
    )
    assert ("Rerun", "spec.rerun is '2': the source is read again") in dataset
    changed = "The data is another than before (d-data-1 → d-data-2). Plans of this dataset are planned and preprocessed anew."
    assert ("DatasetChanged", changed) in dataset
    assert "Dataset data is another than before: planning for data begins anew" in dict(plans)["DatasetChanged"]
    assert "preprocessed anew" in dict(plans)["PlansChanged"]
    assert [reason for reason, _ in run] == ["ReferenceChanged"], "said once, and nothing is done"
    assert world.condition("TrainingRun", "run")[0] == "True"
    assert "set spec.rerun to a new value to train anew" in world.condition("TrainingRun", "run")[2]
    world.edit("TrainingRun", "run", rerun="2")
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Starting"
    assert ("Rerun", "spec.rerun is '2': fold 0: tried again") in events(world, "TrainingRun", "run")
    assert "changedInput" not in world.status("TrainingRun", "run")


def test_a_dataset_that_is_read_again_and_is_the_same(train: Train) -> None:
    world = train()
    begun = len(world.events)
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    finish(world, "dataset", "1")
    assert ("DatasetUnchanged", "The source was read again: the data is what it was.") in events(world, "Dataset", "data", begun)
    assert not events(world, "Plans", "plans", begun)
    assert not world.jobs(step="plan", attempt="1")


def test_a_rerun_of_what_is_well_says_that_it_does_nothing(train: Train) -> None:
    world = train()
    world.finish(world.job(owner_name="run"))
    world.settle()
    for kind, name in (("TrainingRun", "run"), ("Plans", "plans")):
        world.edit(kind, name, rerun="again")
        world.settle()
        said = "spec.rerun is 'again': nothing had failed, and nothing has changed: all stays as it is"
        assert events(world, kind, name)[-1] == ("Rerun", said)
        assert world.condition(kind, name)[0] == "True"


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


def test_what_is_not_planned_any_more_is_not_shown(prepared: MemoryWorld) -> None:
    world = prepared
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    finish(world, "dataset", "2")
    job = world.job(step="plan", attempt="1")
    report = report_of(job, "2")
    kept: dict[str, Any] = {"3d_fullres": report.summary["configurations"]["3d_fullres"]}
    world.finish(job, Report(step="plan", artifacts=report.artifacts, summary={**report.summary, "configurations": kept}))
    world.settle()
    rows = {row["name"]: row for row in world.status("Plans", "plans")["configurations"]}
    assert "patchSize" not in rows["2d"]
    assert rows["3d_fullres"]["patchSize"] == [40, 56, 40]


def test_a_rerun_of_a_transfer_is_passed_on() -> None:
    world = MemoryWorld()
    spec = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    world.put({"apiVersion": API, "kind": "PlanTransfer", "metadata": {"name": "moved"}, "spec": spec})
    world.settle()
    world.edit("PlanTransfer", "moved", rerun="1")
    world.settle()
    assert ("Rerun", "spec.rerun is '1': passed on to Plans moved") in events(world, "PlanTransfer", "moved")
    assert world.status("Plans", "moved")["rerunObserved"] == "1"
