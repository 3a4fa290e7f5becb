"""Plans of one dataset for another."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.transfer import Comparison, transfer
from support.datasets import SOURCE, TARGET
from support.third_party import wheel


def moved(plans: dict[str, Any], dataset_json: dict[str, Any], **options: Any) -> tuple[dict[str, Any], dict[str, Comparison]]:
    result, report = transfer(plans, dataset_name="Dataset060_Other", dataset_json=dataset_json, reader="SimpleITKIO", **options)
    return result, {line.field: line for line in report}


@pytest.mark.reference
@pytest.mark.parametrize("name", [None, "nnUNetPlans", "nnUNetPlans_moved"])
@pytest.mark.parametrize("planner", ["ExperimentPlanner", "nnUNetPlannerResEncM"])
def test_as_the_wheel(
    tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any], name: str | None, planner: str
) -> None:
    made = plan(fingerprint, dataset_json, dataset_name="Dataset050_CT", reader="NibabelIO", planner=planner)
    expected = wheel.move_plans(made, TARGET, tmp_path / "preprocessed", name)
    target = RawDataset.open(TARGET)
    ours, _ = transfer(made, dataset_name=target.name, dataset_json=target.dataset_json, reader=target.any_reader, plans_name=name)
    assert json.dumps(ours) == json.dumps(json.loads(expected))


def test_the_report(plans: dict[str, Any], dataset_json: dict[str, Any], fingerprint: dict[str, Any]) -> None:
    other = {**dataset_json, "channel_names": {"0": "MRI"}, "labels": {"background": 0, "vessel": 1}}
    fingerprint["spacings"] = [[1.0, 1.0, 1.0]] * 3
    fingerprint["foreground_intensity_properties_per_channel"]["0"]["mean"] = 7.0
    result, report = moved(plans, other, fingerprint=fingerprint, source_dataset_json=dataset_json)
    assert {field: line.verdict for field, line in report.items()} == {
        "channels": "same",
        "modality": "differs",
        "labels": "differs",
        "reader": "same",
        "normalization": "differs",
        "nonzero mask": "same",
        "intensities of channel 0": "transferred",
        "median spacing": "transferred",
    }
    assert str(report["modality"]) == "modality: CT → MRI: differs"
    assert result["configurations"]["3d_fullres"]["normalization_schemes"] == ["CTNormalization"]
    assert plans["dataset_name"] == "Dataset050_CT"  # the argument stays as it is


def test_recomputed(plans: dict[str, Any], dataset_json: dict[str, Any], fingerprint: dict[str, Any]) -> None:
    other = {**dataset_json, "channel_names": {"0": "MRI"}}
    fingerprint["median_relative_size_after_cropping"] = 0.5
    fingerprint["foreground_intensity_properties_per_channel"]["0"]["mean"] = 7.0
    result, report = moved(plans, other, fingerprint=fingerprint, normalization="Recompute", intensity_properties="Recompute")
    for configuration in ("2d", "3d_lowres", "3d_fullres"):
        assert result["configurations"][configuration]["normalization_schemes"] == ["ZScoreNormalization"]
        assert result["configurations"][configuration]["use_mask_for_norm"] == [True]
    assert result["foreground_intensity_properties_per_channel"]["0"]["mean"] == 7.0
    assert report["normalization"].verdict == "recomputed"
    with pytest.raises(BadConfiguration, match="needs the fingerprint"):
        moved(plans, other, normalization="Recompute")


def test_another_number_of_channels(plans: dict[str, Any], dataset_json: dict[str, Any], fingerprint: dict[str, Any]) -> None:
    """More channels than the plans hold something of: only where that is recomputed can it work (fewer: test_transfer_channels)."""
    other = {**dataset_json, "channel_names": {"0": "PET", "1": "CT"}}
    properties = fingerprint["foreground_intensity_properties_per_channel"]
    properties["1"] = {**properties["0"], "mean": 7.0}
    for policy in ("Warn", "Fail"):
        with pytest.raises(BadConfiguration, match="channels: 1 → 2: incompatible") as caught:
            moved(plans, other, fingerprint=fingerprint, on_mismatch=policy)
        assert "set normalization: Recompute and intensityProperties: Recompute" in caught.value.hint
    with pytest.raises(BadConfiguration, match="CT in channel 1: incompatible") as caught:
        moved(plans, other, fingerprint=fingerprint, normalization="Recompute")
    assert "set intensityProperties: Recompute" in caught.value.hint
    recomputed: dict[str, Any] = {"fingerprint": fingerprint, "normalization": "Recompute", "intensity_properties": "Recompute"}
    with pytest.raises(BadConfiguration, match="channels: 1 → 2: differs") as caught:
        moved(plans, other, **recomputed, on_mismatch="Fail")
    assert "onMismatch: Warn" in caught.value.hint
    result, report = moved(plans, other, **recomputed)
    assert report["channels"].verdict == "differs"
    for name in ("2d", "3d_lowres", "3d_fullres"):
        assert result["configurations"][name]["normalization_schemes"] == ["ZScoreNormalization", "CTNormalization"]
    assert result["foreground_intensity_properties_per_channel"]["1"]["mean"] == 7.0


def test_fail_refuses_what_warn_lets_pass(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    other = {**dataset_json, "channel_names": {"0": "MRI"}}
    moved(plans, other, on_mismatch="Warn")
    with pytest.raises(BadConfiguration, match="normalization: CTNormalization → ZScoreNormalization: differs"):
        moved(plans, other, on_mismatch="Fail")
    moved(plans, dataset_json, on_mismatch="Fail")


def test_patched(plans: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    result, _ = moved(plans, dataset_json, patch={"configurations": {"3d_fullres": {"batch_size": 4}}})
    assert result["configurations"]["3d_fullres"]["batch_size"] == 4
    with pytest.raises(BadConfiguration, match="batch_size"):
        moved(plans, dataset_json, patch={"configurations": {"3d_fullres": {"batch_size": -4}}})


def test_command(
    tmp_path: Path, fingerprint: dict[str, Any], dataset_json: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    mri = {**deepcopy(dataset_json), "channel_names": {"0": "MRI"}}
    made = plan(fingerprint, mri, dataset_name=SOURCE.name, reader="SimpleITKIO")
    (tmp_path / "p.json").write_text(json.dumps(made))
    output = tmp_path / "out" / "t.json"
    call = ["transfer", "--plans", str(tmp_path / "p.json"), "--to", str(TARGET), "-o", str(output)]
    assert cli.main([*call, "--from", str(SOURCE), "--plans-name", "mine"]) == 0
    assert "labels: background 0, Hippocampus 1 → background 0, Anterior 1, Posterior 2: differs" in capsys.readouterr().err
    first = json.loads(output.read_text())
    assert (first["plans_name"], first["dataset_name"]) == ("mine", TARGET.name)
    assert first["configurations"]["2d"]["data_identifier"] == "mine_2d"
    assert cli.main([*call, "--plans-name", "other"]) == 64  # nothing is overwritten in silence
    assert "holds other plans" in capsys.readouterr().err
    assert json.loads(output.read_text()) == first
    assert cli.main([*call, "--plans-name", "other", "--overwrite"]) == 0
    assert json.loads(output.read_text())["plans_name"] == "other"
