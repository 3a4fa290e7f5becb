"""Fingerprint, plans and preprocessed cases against the wheel's, on data that are seldom thought of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.fingerprint.extraction import extract
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.planning.plans.patch import merge
from nnunet_trainer.preprocessing.case import read_and_preprocess
from support.datasets import make_dataset, write_nifti
from support.third_party import wheel

pytestmark = pytest.mark.reference
SAMPLES = 1e5


@pytest.fixture(autouse=True)
def _fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", SAMPLES)


def compare(folder: Path, work: Path, *, patch: dict[str, Any] | None = None, **options: Any) -> None:
    """The whole data half, all configurations, all cases."""
    raw = RawDataset.open(folder)
    ours, theirs = extract(raw, 1), wheel.fingerprint(folder, work, SAMPLES)
    assert (ours["spacings"], ours["shapes_after_crop"]) == (theirs["spacings"], theirs["shapes_after_crop"])
    arguments = {"overwrite_target_spacing": options["target_spacing"]} if "target_spacing" in options else {}
    made = plan(theirs, raw.dataset_json, dataset_name=raw.name, reader=raw.reader, **options)
    assert json.dumps(made) == json.dumps(wheel.plan(folder, work, **arguments))
    made = merge(made, patch or {})
    for name in made["configurations"]:
        if name == "3d_cascade_fullres":
            continue
        for case in raw.cases.values():
            data, seg, properties = wheel.preprocess_case(case.images, case.label, made, name, raw.dataset_json)
            our_data, our_seg, our_properties = read_and_preprocess(case, Plans(made), name, raw.dataset_json)
            assert np.abs(our_data - data).max() < 2e-4
            assert np.array_equal(our_seg, seg)
            locations = our_properties["class_locations"]
            assert [np.asarray(v).tolist() for v in locations.values()] == [
                np.asarray(v).tolist() for v in properties["class_locations"].values()
            ]


def turned(path: Path, seed: int) -> None:
    """The same voxels in an oblique frame whose axes are also exchanged and flipped."""
    import SimpleITK as sitk

    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)[:, None] + rng.uniform(-0.2, 0.2, (3, 3)))[0]
    if np.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1
    image = sitk.ReadImage(str(path))
    image.SetDirection(rotation.ravel().tolist())
    image.SetOrigin([10.5, -20.25, 3.0])
    sitk.WriteImage(image, str(path), True)


def described(folder: Path, **changes: Any) -> Path:
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_oblique_images(tmp_path: Path, reader: str) -> None:
    folder = make_dataset(tmp_path / "Dataset001_O", cases=2, channels=("CT", "MRI"), spacing=(0.9, 2.8, 1.1), border=2)
    for number in range(2):
        for path in sorted(folder.rglob(f"case_{number:02}*")):
            turned(path, number)
    compare(described(folder, overwrite_image_reader_writer=reader), tmp_path / "work", target_spacing=[1.3, 1.9, 1.0])


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_other_formats_of_itk(tmp_path: Path, ending: str) -> None:
    compare(make_dataset(tmp_path / "Dataset001_E", cases=2, ending=ending, seed=3), tmp_path / "work")


def test_tiff_with_spacing_beside(tmp_path: Path) -> None:
    import tifffile

    folder = tmp_path / "Dataset001_T"
    rng = np.random.default_rng(0)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number, spacing in enumerate([(4.0, 0.5, 0.5), (3.5, 0.6, 0.45)]):
        label = np.zeros((7, 22 + number, 19), np.uint8)
        label[2:5, 4:15, 6:12] = 1
        for part, name, array in (
            ("imagesTr", f"t_{number}_0000", (rng.integers(0, 900, label.shape) + 300.0 * label).astype(np.uint16)),
            ("labelsTr", f"t_{number}", label),
        ):
            tifffile.imwrite(folder / part / f"{name}.tif", array)
            (folder / part / f"t_{number}.json").write_text(json.dumps({"spacing": spacing}))
    content = {
        "channel_names": {"0": "microscope"},
        "labels": {"background": 0, "cell": 1},
        "numTraining": 2,
        "file_ending": ".tif",
    }
    (folder / "dataset.json").write_text(json.dumps({**content, "overwrite_image_reader_writer": "Tiff3DIO"}))
    compare(folder, tmp_path / "work")


@pytest.mark.parametrize(
    "shown", [str, lambda path: os.path.join("..", path.parts[-3], *path.parts[-2:])], ids=["absolute", "relative"]
)
def test_files_that_are_listed(tmp_path: Path, shown: Callable[[Path], str]) -> None:
    folder = make_dataset(tmp_path / "Dataset001_L", cases=3)
    listed = {
        name: {"images": [shown(image) for image in case.images], "label": shown(case.label)}
        for name, case in RawDataset.open(folder).cases.items()
        if case.label is not None
    }
    compare(described(folder, dataset=dict(reversed(listed.items()))), tmp_path / "work")


def test_negative_background_one_voxel_and_nothing(tmp_path: Path) -> None:
    """No voxel is zero; one case has one foreground voxel, one has none."""
    folder = tmp_path / "Dataset001_S"
    rng = np.random.default_rng(1)
    for number in range(3):
        shape, spacing = (9 + number, 20, 17), (5.0 - number, 0.7, 0.8)
        label = np.zeros(shape, np.uint8)
        if number == 0:
            label[2:6, 3:14, 5:11] = 2
        if number == 1:
            label[4, 10, 8] = 1
        write_nifti(folder / "imagesTr" / f"s_{number}_0000.nii.gz", rng.normal(-800, 60, shape) + 300.0 * label, spacing)
        write_nifti(folder / "labelsTr" / f"s_{number}.nii.gz", label, spacing)
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "a": 1, "b": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    compare(folder, tmp_path / "work")
    compare(folder, tmp_path / "work2", target_spacing=[1.1, 1.2, 0.9])


def test_regions_that_are_resampled_apart_from_their_axis(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "ignore": 4}
    folder = make_dataset(
        tmp_path / "Dataset001_R",
        cases=2,
        spacing=(0.8, 0.9, 5.0),
        shape=(30, 28, 8),
        values=4,
        labels=labels,
        regions_class_order=[1, 2],
    )
    compare(folder, tmp_path / "work", target_spacing=[1.3, 0.7, 2.1])


def test_configurations_of_ones_own(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "Dataset001_C", cases=2, channels=("CT", "nonorm"), spacing=(3.0, 1.0, 1.0))
    own = {
        "coarse": {"inherits_from": "3d_fullres", "spacing": [6.0, 1.9, 2.1]},
        "finer": {"inherits_from": "coarse", "spacing": [1.1, 1.0, 0.7], "normalization_schemes": ["ZScoreNormalization"] * 2},
        "order 1": {
            "inherits_from": "finer",
            "resampling_fn_data_kwargs": {"is_seg": False, "order": 1, "force_separate_z": False},
        },
    }
    compare(folder, tmp_path / "work", patch={"configurations": own})
