"""Which files a case is made of."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset.raw import RawDataset
from support.datasets import SOURCE, describe, make_dataset


def test_shipped_cases() -> None:
    raw = RawDataset.open(SOURCE)
    assert raw.name == "Dataset104_HippocampusSource"
    assert len(raw.cases) == 12
    assert raw.reader == "SimpleITKIO"
    assert all(len(case.images) == 1 and case.label is not None and case.label.exists() for case in raw.cases.values())


def test_channels_in_order_and_similar_names_apart(tmp_path: Path) -> None:
    (tmp_path / "imagesTr").mkdir()
    for name in ("a_0001.png", "a_0000.png", "a_b_0000.png", "a_0000_0000.png", "stray.png", "other.txt", "._a_0000.png"):
        (tmp_path / "imagesTr" / name).touch()
    describe(tmp_path, ("r", "g"), {"background": 0, "x": 1}, 3, ".png", None)
    raw = RawDataset.open(tmp_path)
    assert {name: [p.name for p in case.images] for name, case in raw.cases.items()} == {
        "a": ["a_0000.png", "a_0001.png"],
        "a_0000": ["a_0000_0000.png"],
        "a_b": ["a_b_0000.png"],
    }
    assert [path.name for path in raw.stray_files()] == ["stray.png"]


def test_the_dataset_field_replaces_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_dataset(tmp_path / "Dataset001_A")
    content = json.loads((made / "dataset.json").read_text())
    monkeypatch.setenv("IMAGES_LIE_HERE", str(made / "imagesTr"))
    content["dataset"] = {
        "z": {"images": ["$IMAGES_LIE_HERE/case_00_0000.nii.gz"], "label": "labelsTr/case_00.nii.gz"},
        "b": {"images": ["./imagesTr/case_01_0000.nii.gz"], "label": str(made / "labelsTr" / "case_01.nii.gz")},
    }
    (made / "dataset.json").write_text(json.dumps(content))
    raw = RawDataset.open(made)
    assert list(raw.cases) == ["z", "b"]  # in the file's order, as nnU-Net
    assert all(path.exists() for case in raw.cases.values() for path in case.images)
    assert raw.cases["b"].label == made / "labelsTr" / "case_01.nii.gz"
    assert not any("$" in os.fspath(path) for case in raw.cases.values() for path in case.images)


def test_an_unknown_case() -> None:
    with pytest.raises(BadData, match="no case named 'x'"):
        RawDataset.open(SOURCE).case("x")
