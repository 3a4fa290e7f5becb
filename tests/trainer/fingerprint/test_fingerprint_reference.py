"""Fingerprints against the wheel's."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.fingerprint.extraction import extract
from support.datasets import TARGET, make_2d, make_dataset, write_nifti
from support.third_party import wheel

pytestmark = pytest.mark.reference
EXACT = ("max", "min", "median", "percentile_00_5", "percentile_99_5")


def compare(folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch, samples: float = 1e6) -> None:
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", samples)
    expected = wheel.fingerprint(folder, work, samples)
    ours = extract(RawDataset.open(folder), 1)
    assert list(ours) == list(expected)
    for field in ("spacings", "shapes_after_crop", "median_relative_size_after_cropping"):
        assert ours[field] == expected[field]
    properties = expected["foreground_intensity_properties_per_channel"]
    assert list(ours["foreground_intensity_properties_per_channel"]) == list(properties)
    for channel, theirs in properties.items():
        own = ours["foreground_intensity_properties_per_channel"][channel]
        assert list(own) == list(theirs)
        for key in EXACT:
            assert own[key] == theirs[key]
        for key in ("mean", "std"):
            assert own[key] == pytest.approx(theirs[key], rel=1e-6)


def test_shipped_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(TARGET, tmp_path, monkeypatch)


def test_channels_borders_and_ignore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"background": 0, "a": 1, "ignore": 2}
    folder = make_dataset(tmp_path / "Dataset001_A", channels=("CT", "MRI", "PET"), labels=labels, border=4)
    compare(folder, tmp_path / "work", monkeypatch)


def test_a_case_without_foreground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_dataset(tmp_path / "Dataset001_A")
    import SimpleITK as sitk

    path = folder / "labelsTr" / "case_01.nii.gz"
    empty = sitk.ReadImage(str(path)) * 0
    write_nifti(path, sitk.GetArrayFromImage(empty), empty.GetSpacing()[::-1])
    compare(folder, tmp_path / "work", monkeypatch)


def test_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(make_2d(tmp_path / "Dataset001_P"), tmp_path / "work", monkeypatch)


def test_more_draws_than_are_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(make_dataset(tmp_path / "Dataset001_A", cases=2), tmp_path / "work", monkeypatch, samples=5e6)
