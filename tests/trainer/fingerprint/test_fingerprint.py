"""Fingerprints: counting instead of copying, the command, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.fingerprint import intensities
from nnunet_trainer.fingerprint.extraction import extract
from support.datasets import TARGET, make_dataset, write_nifti


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=4), number=st.integers(1, 5000), seed=st.integers(0, 99))
def test_draws_are_those_of_randint(sizes: list[int], number: int, seed: int) -> None:
    generator = np.random.MT19937()
    generator.state = np.random.RandomState(seed).get_state(legacy=False)
    reference = np.random.RandomState(seed)
    for size in sizes:  # one after the other: the generator must stand where it would
        expected = np.bincount(reference.randint(0, size, number), minlength=size)
        assert np.array_equal(intensities._draw(generator, size, number), expected)


@settings(max_examples=60, deadline=None)
@given(
    cases=st.lists(st.lists(st.integers(-40, 40), min_size=1, max_size=40), min_size=1, max_size=4),
    empty=st.booleans(),
    seed=st.integers(0, 99),
)
def test_statistics_of_counts_are_those_of_all_samples(cases: list[list[int]], empty: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples, histograms = [], []
    for case in cases:
        drawn = rng.choice(np.array(case, np.float32) / 7, 50)
        samples.append(drawn)
        values, counts = np.unique(drawn, return_counts=True)
        histograms.append(intensities.Histogram(values, counts))
    if empty:
        samples.append(np.array([]))
        histograms.append(intensities.Histogram(np.empty(0, np.float32), np.empty(0, np.int64)))
    every = np.concatenate(samples)
    found = intensities.statistics(histograms)
    assert found is not None
    for name, percent in intensities.PERCENTILES.items():
        assert found[name] == float(np.percentile(every, np.array([percent]))[0])
    assert (found["min"], found["max"]) == (every.min(), every.max())
    assert found["mean"] == pytest.approx(float(every.mean()), rel=1e-4, abs=1e-5)
    assert found["std"] == pytest.approx(float(every.std()), rel=1e-4, abs=1e-5)


def test_no_statistics_without_foreground() -> None:
    assert intensities.statistics([intensities.Histogram(np.empty(0, np.float32), np.empty(0, np.int64))]) is None


def test_workers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e5)
    raw = RawDataset.open(TARGET)
    heard: list[tuple[int, int]] = []
    assert extract(raw, 1) == extract(raw, 3, progress=lambda a, b: heard.append((a, b)))
    assert heard == [(i, 12) for i in range(1, 13)]


def test_refused(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "Dataset001_A", cases=2)
    with pytest.raises(BadConfiguration, match="DatasetFingerprintExtractor"):
        extract(RawDataset.open(folder), extractor="Mine")
    for path in (folder / "labelsTr").iterdir():
        import SimpleITK as sitk

        image = sitk.ReadImage(str(path))
        write_nifti(path, 0 * sitk.GetArrayFromImage(image), image.GetSpacing()[::-1])
    with pytest.raises(BadData, match="no label file has any foreground"):
        extract(RawDataset.open(folder))
    (folder / "labelsTr" / "case_00.nii.gz").unlink()
    with pytest.raises(BadData, match=r"case_00\.nii\.gz does not exist"):
        extract(RawDataset.open(folder))
    for path in (folder / "imagesTr").iterdir():
        path.unlink()
    with pytest.raises(BadData, match="no training cases"):
        extract(RawDataset.open(folder))


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e5)
    output = tmp_path / "new" / "f.json"
    assert cli.main(["fingerprint", str(TARGET), "-o", str(output), "--workers", "1"]) == 0
    assert "12 cases" in capsys.readouterr().out
    found = json.loads(output.read_text())
    assert len(found["spacings"]) == len(found["shapes_after_crop"]) == 12
    assert cli.main(["fingerprint", str(tmp_path), "-o", str(output)]) == 65
    assert "dataset.json does not exist" in capsys.readouterr().err
    assert json.loads(output.read_text()) == found
