"""Preprocessing of images that are read together with other files, and of data that turns out to be bad there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_trainer import cli
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.fingerprint import extraction
from nnunet_trainer.fingerprint.extraction import extract
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.companions import write_companions
from nnunet_trainer.preprocessing.dataset import preprocess_dataset
from support.trainings.companions import KINDS, SHAPE, beside, make

C = "3d_fullres"


def planned(raw: RawDataset, monkeypatch: pytest.MonkeyPatch) -> Plans:
    monkeypatch.setattr(extraction, "TOTAL_SAMPLES", 1e5)
    return Plans(plan(extract(raw), raw.dataset_json, dataset_name=raw.name, reader=raw.reader))


@pytest.mark.parametrize("kind", ["tiff", "mhd", "mhd, elsewhere"])
def test_a_case_whose_companion_is_newer_is_preprocessed_again(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = RawDataset.open(make(tmp_path / "Dataset001_A", kind))
    plans = planned(raw, monkeypatch)
    assert preprocess_dataset(raw, plans, C, tmp_path / "pre") == ["c0", "c1"]
    assert preprocess_dataset(raw, plans, C, tmp_path / "pre") == []
    later = (tmp_path / "pre" / "c1.pkl").stat().st_mtime + 10
    found = by_name(raw.reader).companions(raw.cases["c1"].images[0])
    os.utime(found[0].path, (later, later))
    assert preprocess_dataset(raw, plans, C, tmp_path / "pre") == ["c1"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_ground_truth_has_all_that_belongs_to_it(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = RawDataset.open(make(tmp_path / "Dataset001_A", kind))
    write_companions(raw, planned(raw, monkeypatch), tmp_path / "pre")
    reader, ending = by_name(raw.reader), raw.file_ending
    for case in raw.cases:
        expected, _ = reader.read_seg(raw.folder / f"labelsTr/{case}{ending}")
        assert np.array_equal(reader.read_seg(tmp_path / f"pre/gt_segmentations/{case}{ending}")[0], expected)


def several(path: Path) -> None:
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(np.ones(SHAPE, np.uint8))] * 2), str(path))


def complex_voxels(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE[::-1], np.complex64), np.eye(4)), str(path))


def smaller(path: Path) -> None:
    beside(path, np.ones((4, 4, 4), np.uint8))


DAMAGE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "label of two channels": ("labelsTr/c1.img", several, "one channel expected in a label, 2 found"),
    "image of two channels": ("imagesTr/c1_0000.img", several, "2 channels in c1_0000.img; dataset.json names 1"),
    "complex image": ("imagesTr/c1_0000.img", complex_voxels, "complex64"),
    "complex label": ("labelsTr/c1.img", complex_voxels, "complex64"),
    "no voxels": ("imagesTr/c1_0000.hdr", Path.unlink, "c1_0000.hdr, which holds its voxels, does not exist"),
    "truncated": ("labelsTr/c1.img", lambda path: os.truncate(path, 100), "truncated"),
    "label of another shape": ("labelsTr/c1.img", smaller, "shape"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_bad_data_that_only_preprocessing_meets(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = RawDataset.open(make(tmp_path / "Dataset001_A", "img"))
    (tmp_path / "plans.json").write_text(json.dumps(planned(raw, monkeypatch).content))
    file, cause, said = DAMAGE[damage]
    cause(raw.folder / file)
    folder = str(raw.folder)
    for call in (
        ["verify", folder, "--workers", "1"],
        ["preprocess", folder, "--plans", str(tmp_path / "plans.json"), "-c", C, "-o", str(tmp_path / "pre"), "--workers", "1"],
        ["fingerprint", folder, "-o", str(tmp_path / "fp.json"), "--workers", "1"],
    ):
        assert cli.main(call) == 65
        printed = capsys.readouterr().err
        assert "c1" in printed
        if call[0] == "preprocess":
            assert said in printed
        assert "Traceback" not in printed
