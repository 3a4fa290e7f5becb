"""Preprocessed cases against the wheel's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.fingerprint import intensities
from nnunet_trainer.fingerprint.extraction import extract
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.case import read_and_preprocess
from support.datasets import SOURCE, TARGET, make_2d, make_dataset
from support.third_party import wheel

pytestmark = pytest.mark.reference


@pytest.fixture(autouse=True)
def _fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensities, "TOTAL_SAMPLES", 1e5)
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e5)


def compare(raw: RawDataset, configuration: str, cases: int = 3, **options: Any) -> None:
    plans = plan(extract(raw, 1), raw.dataset_json, dataset_name=raw.name, reader=raw.reader, **options)
    for case in list(raw.cases.values())[:cases]:
        data, seg, properties = wheel.preprocess_case(case.images, case.label, plans, configuration, raw.dataset_json)
        our_data, our_seg, ours = read_and_preprocess(case, Plans(plans), configuration, raw.dataset_json)
        assert our_data.dtype == np.float32
        assert our_seg.dtype == np.int16
        assert our_data.shape == data.shape
        assert np.abs(our_data - data).max() < 2e-5
        assert np.array_equal(our_seg, seg)
        assert set(ours) == set(properties)
        for key in properties:
            if key != "class_locations":
                assert repr_plain(ours[key]) == repr_plain(properties[key])
        locations = properties["class_locations"]
        assert list(ours["class_locations"]) == [plain(key) for key in locations]
        for key, places in locations.items():
            assert np.array_equal(np.asarray(ours["class_locations"][plain(key)]), np.asarray(places))


def plain(key: Any) -> Any:
    return tuple(int(k) for k in key) if isinstance(key, tuple) else int(key)


def repr_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: repr_plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return (
        [repr_plain(v) for v in value] if isinstance(value, (list, tuple)) else (value if isinstance(value, str) else float(value))
    )


@pytest.mark.parametrize("folder", [TARGET, SOURCE], ids=["target", "source"])
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_shipped_cases(folder: Path, configuration: str) -> None:
    compare(RawDataset.open(folder), configuration)


def test_resampled_isotropically(tmp_path: Path) -> None:
    raw = RawDataset.open(make_dataset(tmp_path / "Dataset001_A", values=3))
    compare(raw, "3d_fullres", target_spacing=[1.3, 0.8, 1.7])
    compare(raw, "3d_fullres", target_spacing=[4.0, 2.0, 2.0])


def test_exact_ties_go_to_the_nearest_label(tmp_path: Path) -> None:
    # Twice the resolution: every sample at a boundary falls exactly between two labels.
    raw = RawDataset.open(make_dataset(tmp_path / "Dataset001_A", values=4, jitter=0, spacing=(1, 1, 1), shape=(20, 20, 20)))
    for spacing in ([0.5, 0.5, 0.5], [2.0, 2.0, 2.0], [0.25, 1.0, 2.0], [2.0, 0.5, 1.0]):
        compare(raw, "3d_fullres", target_spacing=spacing)


def test_anisotropic_ct_in_all_axis_orders(tmp_path: Path) -> None:
    for axis, spacing in enumerate([(5.0, 0.8, 0.9), (0.8, 5.0, 0.9), (0.8, 0.9, 5.0)]):
        shape = tuple(8 if s == 5 else 34 for s in spacing)
        folder = make_dataset(tmp_path / f"Dataset00{axis}_CT", channels=("CT",), shape=shape, spacing=spacing, values=3, seed=axis)
        raw = RawDataset.open(folder)
        for target in (None, [s * 0.6 for s in spacing], [2.5 if s == 5 else s for s in spacing]):
            compare(raw, "3d_fullres", target_spacing=target)
            compare(raw, "2d", target_spacing=target)


def test_regions_and_ignore(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "centre": 3, "ignore": 4}
    folder = make_dataset(tmp_path / "Dataset001_R", labels=labels, values=4, regions_class_order=[1, 2, 3])
    compare(RawDataset.open(folder), "3d_fullres", target_spacing=[1.5, 1.1, 0.9])


def test_channels_of_every_normalization_within_a_mask(tmp_path: Path) -> None:
    channels = ("CT", "MRI", "nonorm", "rescale_to_0_1", "rgb_to_0_1")
    folder = make_dataset(tmp_path / "Dataset001_N", channels=channels, border=9)
    raw = RawDataset.open(folder)
    compare(raw, "3d_fullres")
    compare(raw, "3d_fullres", target_spacing=[1.2, 1.4, 0.9])
    fingerprint = extract(raw, 1)
    assert fingerprint["median_relative_size_after_cropping"] < 0.75  # so that the mask is used


def test_photographs(tmp_path: Path) -> None:
    compare(RawDataset.open(make_2d(tmp_path / "Dataset001_P")), "2d")
    compare(RawDataset.open(make_2d(tmp_path / "Dataset002_P", rgb=False)), "2d")


def test_an_image_of_zeros(tmp_path: Path) -> None:
    from support.datasets import write_nifti

    folder = make_dataset(tmp_path / "Dataset001_Z")
    write_nifti(folder / "imagesTr" / "case_01_0000.nii.gz", np.zeros((12, 30, 26), np.float32), (2, 1, 1))
    label = np.zeros((12, 30, 26), np.uint8)
    label[3:5, 4:9, 6:9] = 1
    write_nifti(folder / "labelsTr" / "case_01.nii.gz", label, (2, 1, 1))
    compare(RawDataset.open(folder), "3d_fullres")
