"""The Decathlon's layout: good odd ones become what nnUNetv2_convert_MSD_dataset makes of them, bad ones are named at once."""

from __future__ import annotations

import codecs
import gzip
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.location import child
from nnunet_trainer.contract.faults import BadData, ExitCode
from nnunet_trainer.contract.work_order import Location
from nnunet_trainer.steps import msd
from nnunet_trainer.steps.raw import Source
from support.third_party.wheel import convert_msd

from .conftest import TARGET, Chain

CASES = ["x_000", "x_001"]
OBLIQUE = [0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0]


def _image(path: Path, array: np.ndarray, spacing: float = 1.5) -> None:
    image = sitk.GetImageFromArray(array, isVector=False)  # (z, y, x), or (channel, z, y, x)
    extra = [1.0] * (array.ndim - 3)
    direction = np.eye(array.ndim)
    direction[:3, :3] = np.reshape(OBLIQUE, (3, 3))
    image.SetSpacing([spacing, 2.0, 3.0, *extra])
    image.SetOrigin([-4.0, 5.0, 6.0, *(0.0 for _ in extra)])
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))


def _task(folder: Path, channels: int = 2, ending: str = ".nii.gz", dtype: str = "float32") -> Path:
    rng = np.random.default_rng(7)
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    for case in CASES:
        shape = (channels, 6, 8, 7) if channels > 1 else (6, 8, 7)
        _image(folder / "imagesTr" / f"{case}{ending}", (rng.normal(size=shape) * 100).astype(dtype))
        _image(folder / "labelsTr" / f"{case}{ending}", rng.integers(0, 3, (6, 8, 7)).astype("uint8"))
    _describe(folder, lambda d: d, ending, channels)
    return folder


def _describe(folder: Path, change: Callable[[dict[str, Any]], Any], ending: str = ".nii.gz", channels: int = 2) -> None:
    path = folder / "dataset.json"
    described = (
        json.loads(path.read_text())
        if path.exists()
        else {
            "name": "X",
            "description": "of the test",
            "tensorImageSize": "4D",
            "modality": {str(i): f"M{i}" for i in range(channels)},
            "labels": {"0": "background", "1": "a", "2": "b"},
            "numTraining": len(CASES),
            "numTest": 0,
            "training": [{"image": f"./imagesTr/{c}{ending}", "label": f"./labelsTr/{c}{ending}"} for c in CASES],
            "test": [],
        }
    )
    path.write_text(json.dumps(change(described) or described, ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return _task(tmp_path / "Task07_X")


def _voxels(path: Path) -> tuple[np.ndarray, list[float]]:
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]


def _same_as_the_wheel(task: Path, tmp_path: Path) -> dict[str, Any]:
    """Both conversions, compared: dataset.json with its order, files, voxels with their type, geometry."""
    ours, theirs = msd.convert(task, tmp_path / "ours"), convert_msd(task, tmp_path / "theirs")
    found, wanted = (json.loads((folder / "dataset.json").read_text()) for folder in (ours, theirs))
    assert found == wanted
    for field in ("labels", "channel_names"):
        assert list(found[field].items()) == list(wanted[field].items())
    for part in ("imagesTr", "labelsTr"):
        names = sorted(path.name for path in (theirs / part).iterdir())
        assert sorted(path.name for path in (ours / part).iterdir()) == names
        for name in names:
            (mine, geometry), (reference, expected) = _voxels(ours / part / name), _voxels(theirs / part / name)
            assert mine.dtype == reference.dtype
            np.testing.assert_array_equal(mine, reference)
            assert geometry == expected
    return found


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_images_become_those_of_the_wheel(tmp_path: Path, channels: int, dtype: str) -> None:
    _same_as_the_wheel(_task(tmp_path / "Task07_X", channels, dtype=dtype), tmp_path)


ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "fields of their own": lambda d: {"licence": "CC", "relase": "1.0", "reference": None, "extra": {"a": [1]}, **d},
    "labels in another order": lambda d: d | {"labels": {"2": "b", "0": "background", "1": "a"}},
    "labels with zeros before": lambda d: d | {"labels": {"0": "background", "01": "a", "002": "b"}},
    "modalities in another order": lambda d: d | {"modality": {"1": "CT", "0": "MR"}},
    "upper case": lambda d: d | {"labels": {"0": "background", "1": "EDEMA", "2": "Necrosis"}, "tensorImageSize": "4d"},
    "umlauts": lambda d: d | {"name": "Prüfung", "labels": {"0": "background", "1": "Läsion", "2": "b"}},
    "paths without a dot": lambda d: d | {"training": [{k: v[2:] for k, v in e.items()} for e in d["training"]]},
    "paths round about": lambda d: d | {"training": [{k: f".//x/../{v}" for k, v in e.items()} for e in d["training"]]},
    "entries with more": lambda d: d | {"training": [{**e, "fold": 0} for e in d["training"]]},
    "entries in another order": lambda d: d | {"training": d["training"][::-1]},
    "test images as objects": lambda d: d | {"test": [{"image": "./imagesTs/t.nii.gz"}], "numTest": 5},
    "a label as ignore": lambda d: d | {"labels": {"0": "background", "1": "a", "2": "ignore"}},
    "a reader": lambda d: d | {"overwrite_image_reader_writer": "SimpleITKIO"},
}


@pytest.mark.parametrize("odd", ODD)
def test_good_odd_ones_become_those_of_the_wheel(task: Path, tmp_path: Path, odd: str) -> None:
    _describe(task, ODD[odd])
    _same_as_the_wheel(task, tmp_path)


def test_macos_files_beside_the_images_are_no_cases(task: Path, tmp_path: Path) -> None:
    for part in ("imagesTr", "labelsTr"):
        (task / part / "._x_001.nii.gz").write_bytes(b"Mac OS X")
    _same_as_the_wheel(task, tmp_path)


def test_a_fourth_axis_of_one_channel(tmp_path: Path) -> None:
    task = _task(tmp_path / "Task07_X", 1)
    for path in (task / "imagesTr").iterdir():
        _image(path, _voxels(path)[0][None])
    _same_as_the_wheel(task, tmp_path)


def test_intensities_with_a_slope(tmp_path: Path) -> None:
    import nibabel

    task = _task(tmp_path / "Task07_X", 2, dtype="int16")
    for path in (task / "imagesTr").iterdir():
        image = nibabel.load(path)
        data = np.asanyarray(image.dataobj.get_unscaled())
        image = nibabel.Nifti1Image(data, image.affine, image.header)
        image.header.set_slope_inter(0.5, -3)
        image.to_filename(path)
    _same_as_the_wheel(task, tmp_path)


@pytest.mark.parametrize("channels", [1, 2])
def test_files_that_are_not_compressed(tmp_path: Path, channels: int) -> None:
    packed = _task(tmp_path / "a/Task07_X", channels)
    plain = _task(tmp_path / "b/Task07_X", channels, ".nii")
    wanted, found = msd.convert(packed, tmp_path / "packed"), msd.convert(plain, tmp_path / "plain")
    assert json.loads((wanted / "dataset.json").read_text()) == json.loads((found / "dataset.json").read_text())
    for path in (p for part in ("imagesTr", "labelsTr") for p in (wanted / part).iterdir()):
        there = found / path.parent.name / path.name
        assert gzip.decompress(there.read_bytes())
        np.testing.assert_array_equal(_voxels(path)[0], _voxels(there)[0])
        assert _voxels(path)[1] == _voxels(there)[1]
    named = tmp_path / "c/Task07_X"
    shutil.copytree(packed, named)
    for path in (p for part in ("imagesTr", "labelsTr") for p in (named / part).iterdir()):
        path.write_bytes(gzip.decompress(path.read_bytes()))  # .nii.gz by its name alone
    _same_as_the_wheel(named, tmp_path)


@pytest.mark.parametrize("ending", [".NII.GZ", ".NII"])
def test_endings_in_capitals(task: Path, tmp_path: Path, ending: str) -> None:
    wanted = msd.convert(task, tmp_path / "wanted")
    for path in [p for part in ("imagesTr", "labelsTr") for p in (task / part).iterdir()]:
        if ending == ".NII":
            path.write_bytes(gzip.decompress(path.read_bytes()))
        path.rename(path.with_name(path.name.replace(".nii.gz", ending)))
    _describe(task, lambda d: json.loads(json.dumps(d).replace(".nii.gz", ending)))
    found = msd.convert(task, tmp_path / "found")
    for path in (wanted / "imagesTr").iterdir():
        np.testing.assert_array_equal(_voxels(path)[0], _voxels(found / "imagesTr" / path.name)[0])


def test_only_the_asked_cases_are_converted(task: Path, tmp_path: Path) -> None:
    (task / "imagesTr/x_000.nii.gz").unlink()  # of another shard: it is not staged there
    found = msd.convert(task, tmp_path / "found", ["x_001"])
    assert sorted(p.name for p in (found / "imagesTr").iterdir()) == ["x_001_0000.nii.gz", "x_001_0001.nii.gz"]
    assert json.loads((found / "dataset.json").read_text())["numTraining"] == 2


def _write(task: Path, name: str, array: np.ndarray, *, vector: bool = False) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=vector), str(task / name))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-7] ^= 1  # of the checksum
    path.write_bytes(bytes(data))


def _nan(path: Path) -> None:
    array = _voxels(path)[0]
    array[1, 2, 3, 4] = np.nan
    _image(path, array)


def _flat(path: Path) -> None:
    import nibabel

    affine = np.diag([1.0, 1.0, 0.0, 1.0])
    image = nibabel.Nifti1Image(_voxels(path)[0].T, None)
    image.header.set_sform(affine, 1)
    image.to_filename(path)


IMAGE, LABEL = "imagesTr/x_001.nii.gz", "labelsTr/x_001.nii.gz"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "an image that is missing": (lambda t: (t / IMAGE).unlink(), f"x_001: the image {IMAGE}, .* does not exist"),
    "a label that is missing": (lambda t: (t / LABEL).unlink(), f"x_001: the label {LABEL}, .* does not exist"),
    "all labels": (lambda t: shutil.rmtree(t / "labelsTr"), f"(?s)2 of 2 cases.*x_000: the label.*x_001: the label {LABEL}"),
    "all images": (lambda t: shutil.rmtree(t / "imagesTr"), f"(?s)2 of 2 cases.*x_000: the image.*x_001: the image {IMAGE}"),
    "a folder in its place": (lambda t: ((t / IMAGE).unlink(), (t / IMAGE).mkdir()), f"x_001: the image {IMAGE}"),
    "a link to nothing": (lambda t: ((t / IMAGE).unlink(), (t / IMAGE).symlink_to("gone")), f"x_001: the image {IMAGE}"),
    "the old format": (lambda t: (t / IMAGE).rename(t / "imagesTr/x_001_0000.nii.gz"), r"x_001: .*imagesTr/x_001_0000.nii.gz.*v1"),
    "more channels": (lambda t: _write(t, IMAGE, np.zeros((3, 6, 8, 7), "int16")), "x_001: .* has 3 channels, .*modality.* 2"),
    "fewer channels": (lambda t: _write(t, IMAGE, np.zeros((6, 8, 7), "int16")), "x_001: .* has 1 channel, .*modality.* 2"),
    "two axes": (lambda t: _write(t, IMAGE, np.zeros((8, 7), "int16")), f"x_001: .*{IMAGE} has 2 axes"),
    "channels as vectors": (lambda t: _write(t, IMAGE, np.zeros((6, 8, 7, 3)), vector=True), "x_001: .* has 3 values a voxel"),
    "no image": (lambda t: (t / IMAGE).write_bytes(b"x" * 500), f"x_001: .*{IMAGE} cannot be read"),
    "an empty file": (lambda t: (t / IMAGE).write_bytes(b""), f"x_001: .*{IMAGE} cannot be read"),
    "a truncated image": (lambda t: (t / IMAGE).write_bytes((t / IMAGE).read_bytes()[:900]), f"{IMAGE} cannot be read"),
    "a damaged image": (lambda t: _flip(t / IMAGE), "x_001: .*damaged"),
    "a voxel that is NaN": (lambda t: _nan(t / IMAGE), "x_001: .*1 voxel is NaN or infinite, .* = 1, 2, 3, 4"),
    "no determinant": (lambda t: _flat(t / IMAGE), "x_001: .*cannot be read"),
    "a truncated label": (lambda t: (t / LABEL).write_bytes((t / LABEL).read_bytes()[:200]), "x_001"),
    "no label": (lambda t: (t / LABEL).write_bytes(b"x"), "x_001"),
    "nnU-Net's label would be another": (
        lambda t: ((t / "labelsTr/y.nii.gz").write_bytes((t / LABEL).read_bytes()),
                   _describe(t, lambda d: d["training"][1].update(label="labelsTr/y.nii.gz"))),
        f"x_001: .*labelsTr/y.nii.gz, nnU-Net would take {LABEL}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_the_files_is_named(local: Chain, tmp_path: Path, name: str) -> None:
    task = _task(tmp_path / "msd" / TARGET)
    spoil, words = BROKEN[name]
    spoil(task)
    local.raw = tmp_path / "msd"
    with pytest.raises(BadData, match=words) as caught:
        local.dataset(layout="MSD")
    assert (caught.value.reason, caught.value.exit_code) == ("InvalidCases", ExitCode.BAD_DATA)
    assert "file://file" not in str(caught.value)
    assert "converted" not in str(caught.value)
    assert list(local.store.list()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d | {"modality": None},
        lambda d: d | {"labels": ["background", "a"]},
        lambda d: d | {"training": [e["image"] for e in d["training"]]},
        lambda d: d | {"training": [{"image": None, "label": "x"}]},
        lambda d: d | {"training": []},
        lambda d: {"modality": d["modality"]},
    ],
)
def test_an_odd_description_is_named_before_anything_is_fetched(
    local: Chain, tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    _describe(_task(tmp_path / "msd" / TARGET), change)
    local.raw = tmp_path / "msd"
    with pytest.raises(BadData, match="field ") as caught:
        local.dataset(layout="MSD")
    assert caught.value.message.startswith(f"file://{tmp_path}/msd/{TARGET}/dataset.json: ")
    assert caught.value.reason == "InvalidDatasetJson"
    assert {p.phase for p in local.heard} == {"listing"}


@pytest.mark.parametrize("encode", [lambda t: t.encode("utf-16"), lambda t: t.replace("a", "ä").encode("latin-1"), lambda t: b""])
def test_other_encodings_are_refused(local: Chain, tmp_path: Path, encode: Callable[[str], bytes]) -> None:
    path = _task(tmp_path / "msd" / TARGET) / "dataset.json"
    path.write_bytes(encode(path.read_text()))
    local.raw = tmp_path / "msd"
    for layout in ("MSD", "nnUNetV2"):
        with pytest.raises(BadData, match=r"dataset\.json: not (UTF-8|JSON)") as caught:
            local.dataset(layout=layout)
        assert caught.value.reason == "InvalidDatasetJson"
        assert "file://file" not in caught.value.message


def test_a_byte_order_mark_says_nothing(task: Path, tmp_path: Path) -> None:
    path = task / "dataset.json"
    wanted = msd.convert(task, tmp_path / "wanted")
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    found = msd.convert(task, tmp_path / "found")
    assert (found / "dataset.json").read_bytes() == (wanted / "dataset.json").read_bytes()


def test_images_in_other_folders_belong_to_the_dataset(task: Path) -> None:
    (task / "imagesTr").rename(task / "scans")
    _describe(task, lambda d: json.loads(json.dumps(d).replace("imagesTr", "scans")))
    listing = Source(Location(uri=f"file://{task}"), "MSD", TARGET).listing()
    assert set(listing) == {"dataset.json", *(f"{part}/{case}.nii.gz" for part in ("scans", "labelsTr") for case in CASES)}


def test_images_that_training_does_not_name_are_said(local: Chain, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = _task(tmp_path / "msd" / TARGET)
    shutil.copy(task / IMAGE, task / "imagesTr/z.nii.gz")
    (task / LABEL).unlink()
    local.raw = tmp_path / "msd"
    _describe(task, lambda d: d | {"training": d["training"][:1], "numTraining": 1})
    with caplog.at_level(logging.WARNING):
        assert local.dataset(layout="MSD").summary["cases"] == 1
    assert "training does not name imagesTr/x_001.nii.gz, imagesTr/z.nii.gz; left out" in caplog.text


@pytest.mark.s3
def test_from_s3(remote: Chain, local: Chain, tmp_path: Path) -> None:
    task = _task(tmp_path / "msd" / TARGET)
    splits = [{"train": ["x_001"], "val": ["x_000"]}]
    (task / "splits_final.json").write_text(json.dumps(splits))
    raw = child(remote.storage, f"raw/{TARGET}")
    for info in list(open_store(raw).list()):
        open_store(raw).delete(info.key)
    for path in (p for p in task.rglob("*") if p.is_file()):
        open_store(raw).put_file(path, path.relative_to(task).as_posix())
    report = remote.dataset(layout="MSD")
    local.raw = tmp_path / "msd"
    there, here = report.artifact("dataset"), local.dataset(layout="MSD").artifact("dataset")
    assert there is not None
    assert here is not None
    assert there.digest == here.digest
    assert json.loads(open_store(remote.given(report, "dataset").location).get("splits_final.json")) == splits
    open_store(raw).delete(IMAGE)
    with pytest.raises(BadData, match=f"x_001: the image {IMAGE}") as caught:
        remote.dataset(layout="MSD")
    assert caught.value.reason == "InvalidCases"
