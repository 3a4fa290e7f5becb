"""What waits for what, how it is said, and how it heals."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nnunet_trainer
import pytest
from nnunet_operator.api.resources import parse
from nnunet_operator.reconcile.kinds.dataset import DATA_FAULTS
from nnunet_operator.reconcile.references.dependencies import key_of, needed_by, owner_of, wanted_by
from nnunet_operator.reconcile.view import Key, Settings
from nnunet_trainer.contract.report import Error
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]


def run(name: str = "run", **spec: Any) -> dict[str, Any]:
    spec = {"plansRef": {"name": "plans"}, "folds": ["0"], **spec}
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": name}, "spec": spec}


def plans(name: str = "plans", **spec: Any) -> dict[str, Any]:
    spec = {"datasetRef": {"name": "data"}, **spec}
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "Plans", "metadata": {"name": name}, "spec": spec}


def transfer(name: str = "moved", source: str = "plans") -> dict[str, Any]:
    spec = {"from": {"plansRef": {"name": source}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "PlanTransfer", "metadata": {"name": name}, "spec": spec}


def dataset(name: str = "data") -> dict[str, Any]:
    spec = {"name": "Dataset004_Hippocampus", "source": {"uri": "s3://nnunet/raw/Dataset004_Hippocampus"}}
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": name}, "spec": spec}


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


@pytest.mark.parametrize(
    ("code", "reason", "verified"),
    [
        (65, "InvalidCases", "False"),
        (65, "InvalidDatasetJson", "False"),
        (65, "TooFewCases", "False"),
        (65, "DatasetChanged", "Unknown"),
        (78, "UnknownReader", "Unknown"),
        (74, "StorageUnreachable", "Unknown"),
        (74, "NoSuchBucket", "Unknown"),
        (74, None, "Unknown"),
        (1, None, "Unknown"),
    ],
)
def test_only_faults_of_the_data_say_that_it_is_not_verified(code: int, reason: str | None, verified: str) -> None:
    world = MemoryWorld()
    world.put(dataset() | {"spec": dataset()["spec"] | {"failurePolicy": {"maxRestarts": 0}}})
    world.settle()
    error = Error(code=code, reason=reason, message="something") if reason else None
    world.fail(world.job(step="dataset"), code, error=error)
    world.settle()
    assert world.condition("Dataset", "data")[0] == "False"
    assert world.condition("Dataset", "data", "Verified")[0] == verified


def test_each_fault_of_the_data_is_known_as_one() -> None:
    root = Path(nnunet_trainer.__file__).parent
    steps = [root / "steps" / f"{name}.py" for name in ("dataset", "raw", "msd")]
    files = [*(root / "dataset").rglob("*.py"), *(root / "fingerprint").rglob("*.py"), *steps]
    raised = {name for file in files for name in re.findall(r'BadData\(\s*"(\w+)"', file.read_text())}
    assert {"InvalidCases", "InvalidDatasetJson"} <= raised
    assert raised - {"DatasetChanged"} <= DATA_FAULTS


def test_a_run_waits_for_its_own_configuration_alone() -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.put(plans(preprocessing={"configurations": ["2d", "3d_fullres"]}))
    world.put(run("flat", configuration="2d"))
    world.put(run("deep", configuration="3d_fullres"))
    for step in ("dataset", "plan"):
        world.settle()
        world.finish(world.job(step=step))
    world.settle()
    world.finish(world.job(configuration="2d", step="preprocess"))
    world.fail(world.job(configuration="3d_fullres", step="preprocess"), 65)
    world.settle()
    assert world.condition("TrainingRun", "flat")[1] == "Starting"
    assert world.condition("TrainingRun", "deep")[1] == "DependencyFailed"
    assert world.condition("Plans", "plans")[:2] == ("False", "BadData")
    assert world.condition("Plans", "plans", "Planned")[0] == "True"


def test_an_unknown_configuration_is_named_with_the_known_ones(prepared: MemoryWorld) -> None:
    prepared.put(run(configuration="3d_fulres"))
    prepared.settle()
    _status, reason, message = prepared.condition("TrainingRun", "run")
    assert reason == "UnknownConfiguration"
    assert "'3d_fulres'" in message
    assert "Did you mean 3d_fullres?" in message
    assert "Known: 2d, 3d_fullres" in message
    assert not prepared.jobs()


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


def test_a_configuration_that_nobody_preprocesses(prepared: MemoryWorld) -> None:
    prepared.put(run(configuration="2d"))
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "ConfigurationNotPreprocessed"
    prepared.edit("Plans", "plans", preprocessing={"configurations": ["3d_fullres", "2d"]})
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "WaitingForPlans"
    prepared.finish(prepared.job(configuration="2d", step="preprocess"))
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "Starting"


@pytest.mark.parametrize(
    ("pretrained", "reason", "said"),
    [
        ({"runRef": {"name": "other", "fold": "all"}}, "UnknownFold", "its folds: 0, 1"),
        ({"runRef": {"name": "nobody", "fold": "0"}}, "WaitingForTrainingRun", "TrainingRun nobody (spec.pretrained.runRef)"),
        ({"runRef": {"name": "other", "fold": "0"}}, "WaitingForTrainingRun", "to train fold 0; it is Starting"),
        ({"runRef": {"name": "run", "fold": "0"}}, "ReferenceCycle", "TrainingRun run → TrainingRun run"),
    ],
)
def test_what_a_run_is_pretrained_from(prepared: MemoryWorld, pretrained: Any, reason: str, said: str) -> None:
    prepared.put(run("other", folds=["0", "1"]))
    prepared.put(run(pretrained=pretrained))
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == reason
    assert said in prepared.condition("TrainingRun", "run")[2]


def test_only_the_one_fold_of_the_other_run_matters(prepared: MemoryWorld) -> None:
    prepared.put(run("other", folds=["0", "1"]))
    prepared.put(run(pretrained={"runRef": {"name": "other", "fold": "0"}, "checkpoint": "best"}))
    prepared.settle()
    prepared.fail(prepared.job(fold="1"), 78)
    prepared.finish(prepared.job(fold="0"))
    prepared.settle()
    weights = prepared.order(prepared.job(owner_name="run"))["pretrained"]
    assert weights["location"]["uri"].endswith("fold_0/checkpoint_best.pth")
    prepared.edit("TrainingRun", "other", rerun="x")
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "Starting"


def test_weights_from_a_file(train: Train) -> None:
    world = train(pretrained={"uri": "s3://elsewhere/model.pth", "secretName": "theirs", "endpoint": "https://s3.example.org"})
    location = world.order(world.job(owner_name="run"))["pretrained"]["location"]
    assert location == {"uri": "s3://elsewhere/model.pth", "secretName": "theirs", "endpoint": "https://s3.example.org"}
    secrets = [
        v["secret"]["secretName"] for v in world.job(owner_name="run")["spec"]["template"]["spec"]["volumes"] if "secret" in v
    ]
    assert secrets == ["s3", "theirs"]


def test_runs_that_wait_for_each_other_are_told(prepared: MemoryWorld) -> None:
    prepared.put(run("one", pretrained={"runRef": {"name": "two", "fold": "0"}}))
    prepared.put(run("two", pretrained={"runRef": {"name": "one", "fold": "0"}}))
    prepared.settle()
    assert prepared.condition("TrainingRun", "one")[1] == prepared.condition("TrainingRun", "two")[1] == "ReferenceCycle"
    assert "TrainingRun two → TrainingRun one → TrainingRun two" in prepared.condition("TrainingRun", "two")[2]


def test_a_plans_of_the_transfers_name_is_left_alone(prepared: MemoryWorld) -> None:
    prepared.put(plans("moved"))
    prepared.put(transfer())
    prepared.settle()
    status, reason, message = prepared.condition("PlanTransfer", "moved")
    assert (status, reason) == ("False", "PlansNameTaken")
    assert "delete that one" in message
    assert "ownerReferences" not in prepared.objects[Key("Plans", "default", "moved")]["metadata"]
    prepared.remove("Plans", "moved")
    prepared.settle()
    assert prepared.condition("PlanTransfer", "moved")[1] == "Starting"


def test_a_transfer_mirrors_and_keeps_its_plans(prepared: MemoryWorld) -> None:
    prepared.put(transfer())
    prepared.settle()
    made = prepared.objects[Key("Plans", "default", "moved")]
    assert made["metadata"]["ownerReferences"][0]["kind"] == "PlanTransfer"
    order = prepared.order(prepared.job(step="transfer"))
    assert (order["plansName"], order["fromPlans"]["digest"], order["onMismatch"]) == ("nnUNetPlans_moved", "p-plans-1", "Warn")
    for step in ("transfer", "preprocess"):
        prepared.finish(prepared.job(step=step))
        prepared.settle()
    assert prepared.condition("PlanTransfer", "moved")[0] == "True"
    assert prepared.condition("PlanTransfer", "moved", "Compatible")[:2] == ("False", "Mismatch")
    assert prepared.status("PlanTransfer", "moved")["artifact"]["digest"] == "p-moved-1"
    prepared.edit("PlanTransfer", "moved", preprocessing={"configurations": ["3d_fullres", "2d"]})
    prepared.settle()
    assert made["spec"]["preprocessing"]["configurations"] == ["3d_fullres", "2d"]
    prepared.remove("Plans", "moved")
    prepared.settle()
    assert Key("Plans", "default", "moved") in prepared.objects


def test_a_transfer_of_its_own_plans_is_refused(prepared: MemoryWorld) -> None:
    prepared.put(transfer("moved", source="moved"))
    prepared.settle()
    assert prepared.condition("PlanTransfer", "moved")[1] == "ReferenceCycle"
    assert Key("Plans", "default", "moved") not in prepared.objects


def test_without_any_storage_it_is_said_what_to_do() -> None:
    world = MemoryWorld(Settings())
    world.put(dataset())
    world.settle()
    status, reason, message = world.condition("Dataset", "data")
    assert (status, reason) == ("False", "NoStorage")
    assert "spec.storage.uri" in message
    world.edit("Dataset", "data", storage={"uri": "s3://nnunet"})
    world.settle()
    assert world.condition("Dataset", "data")[1] == "Starting"


def test_what_cannot_be_read_is_said_and_left_alone(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.edit("TrainingRun", "run", folds=["first"])
    world.settle()
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "spec.folds[0]" in message
    assert world.jobs() == [job], "what runs goes on"
    assert world.fold("run")["attempt"] == 0, "and nothing of the status is lost"
    world.edit("TrainingRun", "run", folds=["0"])
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Starting"


def test_a_dependency_that_cannot_be_read_is_said(prepared: MemoryWorld) -> None:
    prepared.edit("Plans", "plans", preprocessing={"shards": "many"})
    prepared.put(run())
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "DependencyFailed"


def test_references_deleted_under_a_run_do_not_stop_it(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    world.remove("Plans", "plans")
    world.remove("Dataset", "data")
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Training"
    world.finish(job)
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"


def test_whom_a_change_concerns() -> None:
    manifests = [dataset(), plans(), transfer(), run(pretrained={"runRef": {"name": "other", "fold": "all"}})]
    resources = [
        parse(manifest | {"metadata": {"name": manifest["metadata"]["name"], "namespace": "ns"}}) for manifest in manifests
    ]

    def wakes(changed: Key, _resources: Any) -> list[Key]:
        return [key_of(resource) for resource in _resources if changed in (*needed_by(resource), *wanted_by(resource))]

    assert needed_by(resources[3]) == [Key("Plans", "ns", "plans"), Key("TrainingRun", "ns", "other")]
    assert wakes(Key("Dataset", "ns", "data"), resources) == [Key("Plans", "ns", "plans"), Key("PlanTransfer", "ns", "moved")]
    assert wakes(Key("Plans", "ns", "moved"), resources) == [Key("PlanTransfer", "ns", "moved")]
    assert wakes(Key("TrainingRun", "ns", "other"), resources) == [Key("TrainingRun", "ns", "run")]
    assert wakes(Key("Plans", "elsewhere", "plans"), resources) == []


def test_a_child_names_its_owner(train: Train) -> None:
    job = train().job(owner_name="run")
    assert owner_of(job) == Key("TrainingRun", "default", "run")
    assert owner_of({"metadata": {"name": "somebody's"}}) is None


@pytest.mark.parametrize("garbage", [-1, "many", None, 1e300, 10**40, [], {"a": {"b": {}}}])
def test_garbage_in_a_report_never_makes_an_invalid_status(garbage: Any) -> None:
    world = MemoryWorld()
    for manifest in (dataset(), plans(), run()):
        world.put(manifest)
    for step in ("dataset", "plan", "preprocess", "train"):
        world.settle()
        job = world.job(step=step)
        report = report_of(job)
        for key in list(report.summary):
            if key != "configurations":
                report.summary[key] = garbage
        for shape in report.summary.get("configurations", {}).values():
            for key in list(shape):
                if key != "preprocessable":
                    shape[key] = garbage
        pod = world.run(job)[0]
        world.finish(job, report)
        assert pod["status"]["phase"] == "Succeeded"
    world.settle()
    for kind, name in (("Dataset", "data"), ("Plans", "plans"), ("TrainingRun", "run")):
        assert world.condition(kind, name)[0] == "True"
        assert parse(world.objects[Key(kind, "default", name)]).status.to_json() == world.status(kind, name)


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
