"""The steps `plan` and `transfer`, and that nothing goes on with a dataset that changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.artifact import require
from nnunet_trainer.artifacts.location import child
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.contract.work_order import Location, PlannerChoice
from support.datasets import make_dataset

from .conftest import SOURCE, TARGET, Chain, Prepared

LABEL = "labelsTr/hippocampus_003.nii.gz"


def test_plans_say_what_a_status_shows(prepared: Prepared) -> None:
    summary = prepared.plans.summary
    assert (summary["plansName"], summary["datasetName"], summary["planner"]) == ("nnUNetPlans", TARGET, "ExperimentPlanner")
    small = summary["configurations"]["3d_fullres"]
    assert (small["patchSize"], small["batchSize"], small["preprocessable"]) == ([16, 16, 16], 2, True)
    assert len(small["networkDigest"]) == 16
    found = require(open_store(prepared.chain.given(prepared.plans, "plans").location), "plans")
    assert set(found.files) == {"nnUNetPlans.json", "dataset.json", "report.json"}
    assert list(found.read_json("nnUNetPlans.json"))[:2] == ["dataset_name", "plans_name"]  # nnU-Net's key order
    assert found.read_json("report.json")["notes"]


def test_the_same_plans_are_made_once(prepared: Prepared) -> None:
    again = prepared.chain.plan(prepared.read)
    assert again.summary["found"]
    assert again.artifacts == prepared.plans.artifacts
    for changed in ({"plans_name": "mine"}, {"patch": {}}, {"planner": PlannerChoice(gpu_memory_gb=4)}):
        assert prepared.chain.plan(prepared.read, **changed).artifacts != again.artifacts


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"planner": PlannerChoice(name="ExperimentPlaner")}, "ExperimentPlanner"),
        ({"patch": {"configurations": {"3d_fullres": {"patch_size": "big"}}}}, "patch_size"),
    ],
)
def test_wrong_plans_are_refused(prepared: Prepared, changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadConfiguration, match=words):
        prepared.chain.plan(prepared.read, **changes)


def test_a_planner_for_one_configuration(prepared: Prepared) -> None:
    report = prepared.chain.plan(prepared.read, patch={}, per_configuration={"2d": PlannerChoice(name="ResEncUNetPlanner")})
    found = require(open_store(prepared.chain.given(report, "plans").location), "plans")
    configurations = found.read_json("nnUNetPlans.json")["configurations"]
    assert configurations["2d"]["architecture"]["network_class_name"].endswith("ResidualEncoderUNet")
    assert configurations["3d_fullres"]["architecture"]["network_class_name"].endswith("PlainConvUNet")


def test_a_transfer_with_its_report(local: Chain) -> None:
    target, source = local.dataset(TARGET), local.dataset(SOURCE)
    plans = local.plan(target)
    report = local.transfer(plans, target, source)
    assert (report.summary["plansName"], report.summary["datasetName"]) == ("nnUNetPlans_target", SOURCE)
    verdicts = {line["field"]: line["verdict"] for line in report.summary["compatibility"]}
    assert (verdicts["channels"], verdicts["labels"]) == ("same", "differs")
    assert len(report.summary["warnings"]) == 1
    ours, theirs = (p.summary["configurations"]["3d_fullres"] for p in (report, plans))
    assert ours["networkDigest"] == theirs["networkDigest"]
    found = require(open_store(local.given(report, "plans").location), "plans")
    assert found.read_json("dataset.json")["labels"] == source.summary["labels"]
    assert local.transfer(plans, target, source).summary["found"]
    with pytest.raises(BadConfiguration, match="labels"):
        local.transfer(plans, target, source, on_mismatch="Fail")


@pytest.mark.parametrize("channels", [2, 3])
def test_plans_of_more_channels_are_trained_with(tmp_path: Path, pod_scratch: Path, channels: int) -> None:
    """They are for T1 within a mask, and masks of the channels that the target lacks must not be looked for in its patches."""
    chain = Chain(Location(uri=f"file://{tmp_path}/store"), tmp_path / "raw")
    many, one = "Dataset801_Many", "Dataset802_One"
    make_dataset(tmp_path / "raw" / many, channels=("T1", "T2", "PET")[:channels], cases=5, border=6)
    make_dataset(tmp_path / "raw" / one, channels=("T1",), cases=5, border=6, seed=1)
    theirs, read = chain.dataset(many), chain.dataset(one)
    plans = chain.plan(theirs, many)
    moved = chain.transfer(plans, theirs, read, one)
    assert f"channels: {channels} → 1: differs" in moved.summary["warnings"]
    found = require(open_store(chain.given(moved, "plans").location), "plans").read_json("nnUNetPlans_target.json")
    assert found["configurations"]["3d_fullres"]["use_mask_for_norm"] == [True] * channels
    data = chain.preprocess(read, moved, one)
    trained = chain.train(chain.train_order(data, moved, one, validation="Run"))
    assert trained.summary["epochs"] == 2
    assert trained.summary["validationDice"] is not None


def check_changes(chain: Chain, change: bytes) -> None:
    store = open_store(chain.source(TARGET))
    read = chain.dataset()
    before = store.get(LABEL)
    store.put(LABEL, change)
    with pytest.raises(BadData, match=r"(?s)1 file of .*hippocampus_003") as caught:
        chain.plan(read)
    assert caught.value.reason == "DatasetChanged"
    assert "spec.rerun" in caught.value.hint
    store.put(LABEL, before)
    plans = chain.plan(read)
    store.put("imagesTr/hippocampus_new_0000.nii.gz", b"")
    with pytest.raises(BadData, match=r"imagesTr/hippocampus_new_0000\.nii\.gz: new"):
        chain.preprocess(read, plans)
    store.delete("imagesTr/hippocampus_new_0000.nii.gz")
    store.delete(LABEL)
    with pytest.raises(BadData, match=f"{LABEL}: gone"):
        chain.preprocess(read, plans)


@pytest.mark.parametrize("change", [b"shorter", None])
def test_a_dataset_that_changed_is_noticed(local: Chain, raw: Path, change: bytes | None) -> None:
    same_size = bytes(len((raw / TARGET / LABEL).read_bytes()))
    check_changes(local, change or same_size)


@pytest.mark.s3
def test_a_dataset_that_changed_in_s3_is_noticed(remote: Chain, raw: Path) -> None:
    check_changes(remote, bytes(len((raw / TARGET / LABEL).read_bytes())))


def test_a_dataset_that_was_only_touched_or_moved_is_the_same(local: Chain, raw: Path, tmp_path: Path) -> None:
    read = local.dataset()
    os.utime(raw / TARGET / LABEL, (1, 1))
    assert local.plan(read).error is None
    raw.rename(tmp_path / "elsewhere")
    local.raw = tmp_path / "elsewhere"
    assert local.plan(read, plans_name="other").error is None


def test_an_artifact_that_is_gone_is_named(local: Chain) -> None:
    read = local.dataset()
    given = local.given(read, "dataset")
    open_store(given.location).delete("manifest.json")
    with pytest.raises(BadData, match="no whole dataset") as caught:
        local.plan(read)
    assert caught.value.reason == "ArtifactIncomplete"
    assert child(given.location, "manifest.json").uri.startswith("file://")
