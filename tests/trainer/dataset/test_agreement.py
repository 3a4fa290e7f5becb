"""One rule for whether files belong together: what reading takes, verifying takes, and what it refuses, verifying refuses first."""

from __future__ import annotations

import gzip
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset import splits
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.dataset.readers.agreement import same_spacing
from nnunet_trainer.dataset.verification.findings import MOST_WARNINGS, Finding, warnings
from nnunet_trainer.dataset.verification.verify import verify
from nnunet_trainer.fingerprint.extraction import extract
from support.datasets import make_2d, make_dataset, write_nifti
from support.third_party import wheel

SHAPE, SPACING = (8, 14, 12), (2.0, 1.0, 1.0)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "Dataset001_A", channels=("MRI", "PET"), shape=SHAPE, spacing=SPACING, jitter=0)


def fatal(raw: Path) -> list[str]:
    return [f.message for f in verify(raw, 1) if f.fatal]


@pytest.mark.parametrize("factor", [1, 1 + 1e-7, 1 + 9e-6, 1 + 3e-5, 1.01])
@pytest.mark.parametrize("part", ["image", "label"])
def test_spacings_are_compared_by_one_rule(raw: Path, part: str, factor: float) -> None:
    spacing = (2.0 * factor, 1.0, 1.0)
    path = raw / ("imagesTr/case_00_0001.nii.gz" if part == "image" else "labelsTr/case_00.nii.gz")
    write_nifti(path, np.ones(SHAPE, np.float32 if part == "image" else np.uint8), spacing)
    equal = same_spacing(SPACING, spacing)
    assert equal is (factor < 1 + 2e-5)
    assert (fatal(raw) == []) is equal
    if part == "image":
        files = RawDataset.open(raw).cases["case_00"].images
        if equal:
            assert by_name("SimpleITKIO").read_images(files)[1]["spacing"] == list(SPACING)
        else:
            with pytest.raises(BadData, match="spacing"):
                by_name("SimpleITKIO").read_images(files)


@pytest.mark.reference
@pytest.mark.parametrize("name", ["SimpleITKIO", "NibabelIO"])
@pytest.mark.parametrize("factor", [1 + 9e-6, 1 + 3e-5])
def test_the_rule_is_nnunets(tmp_path: Path, name: str, factor: float) -> None:
    from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name

    files = [tmp_path / f"a_000{i}.nii.gz" for i in range(2)]
    for path, first in zip(files, (2.0, 2.0 * factor), strict=True):
        write_nifti(path, np.ones(SHAPE, np.float32), (first, 1.0, 1.0))

    def takes(read: Any) -> bool:
        try:
            with wheel.quiet():
                read(files)
        except (BadData, RuntimeError):
            return False
        return True

    theirs = recursive_find_reader_writer_by_name(name)()
    assert takes(by_name(name).read_images) == takes(lambda given: theirs.read_images([str(path) for path in given]))


def test_a_case_of_another_dimension(raw: Path) -> None:
    for path in [raw / f"imagesTr/case_01_000{c}.nii.gz" for c in (0, 1)] + [raw / "labelsTr/case_01.nii.gz"]:
        sitk.WriteImage(sitk.GetImageFromArray(np.eye(*SHAPE[1:], dtype=np.uint8)), str(path))
    assert [(f.case, f.file, f.message) for f in verify(raw, 1)] == [
        ("case_01", "imagesTr/case_01_0000.nii.gz", "2 dimensions, the other cases have 3")
    ]


def test_a_label_of_another_dimension(raw: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.ones(SHAPE[1:], np.uint8)), str(raw / "labelsTr/case_01.nii.gz"))
    assert {(f.case, f.file) for f in verify(raw, 1) if f.fatal} == {("case_01", "labelsTr/case_01.nii.gz")}
    assert "shape 1×14×12, but imagesTr/case_01_0000.nii.gz has 8×14×12" in fatal(raw)


def test_no_foreground_at_all(raw: Path) -> None:
    for label in (raw / "labelsTr").iterdir():
        write_nifti(label, np.zeros(SHAPE, np.uint8), SPACING)
    assert fatal(raw) == ["no label has any foreground, so there is nothing to learn"]
    with pytest.raises(BadData, match="no label file has any foreground"):
        extract(RawDataset.open(raw))
    write_nifti(raw / "labelsTr/case_00.nii.gz", np.eye(14, 12, dtype=np.uint8)[None].repeat(8, 0), SPACING)
    assert fatal(raw) == []


def test_colours_that_are_none(tmp_path: Path) -> None:
    import imageio.v3 as iio

    raw = make_2d(tmp_path / "Dataset001_P", rgb=False)
    content = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps({**content, "channel_names": {"0": "RGB_to_0_1"}}))
    assert fatal(raw) == []
    iio.imwrite(raw / "imagesTr/img_0_0000.png", iio.imread(raw / "imagesTr/img_0_0000.png").astype(np.uint16) * 100)
    (found,) = verify(raw, 1)
    assert (found.case, found.file) == ("img_0", "imagesTr/img_0_0000.png")
    assert "expected 0 to 255" in found.message


def test_labels_that_the_format_of_the_segmentations_cannot_hold(tmp_path: Path) -> None:
    import imageio.v3 as iio

    raw = make_2d(tmp_path / "Dataset001_P", rgb=False)
    for path in [*(raw / "imagesTr").iterdir(), *(raw / "labelsTr").iterdir()]:
        iio.imwrite(path.with_suffix(".bmp"), iio.imread(path))
        path.unlink()
    content = json.loads((raw / "dataset.json").read_text()) | {"file_ending": ".bmp"}
    (raw / "dataset.json").write_text(json.dumps(content))
    assert fatal(raw) == []
    (raw / "dataset.json").write_text(json.dumps({**content, "labels": {"background": 0, **{f"l{v}": v for v in range(1, 300)}}}))
    assert len(fatal(raw)) == 4
    assert all("no segmentation of it can be written" in message for message in fatal(raw))


def test_a_format_that_loses_labels(tmp_path: Path) -> None:
    """JPEG can be named for the images, but a segmentation in it would not be what was predicted."""
    import imageio.v3 as iio

    raw = make_2d(tmp_path / "Dataset001_P", rgb=False)
    for path in [*(raw / "imagesTr").iterdir(), *(raw / "labelsTr").iterdir()]:
        iio.imwrite(path.with_suffix(".jpg"), np.ones((48, 40), np.uint8))
        path.unlink()
    content = json.loads((raw / "dataset.json").read_text())
    changed = {"file_ending": ".jpg", "overwrite_image_reader_writer": "NaturalImage2DIO"}
    (raw / "dataset.json").write_text(json.dumps(content | changed))
    assert len(fatal(raw)) == 4
    assert all(message.endswith("does not come back: its labels are others") for message in fatal(raw))


def test_a_number_that_a_case_leaves_out(raw: Path) -> None:
    (raw / "imagesTr/case_01_0001.nii.gz").rename(raw / "imagesTr/case_01_0002.nii.gz")
    (found,) = verify(raw, 1)
    assert (found.case, found.file) == ("case_01", "imagesTr/case_01_0000.nii.gz")
    assert found.message == "the files of this case are numbered 0000, 0002, expected 0000, 0001"


def test_a_spacing_that_is_none(tmp_path: Path) -> None:
    """Readers of NIfTI take 1 for 0; what is no number passes."""
    raw = make_dataset(tmp_path / "Dataset001_A", shape=SHAPE, spacing=SPACING, jitter=0)
    content = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps({**content, "overwrite_image_reader_writer": "NibabelIO"}))
    for path in (raw / "imagesTr/case_00_0000.nii.gz", raw / "labelsTr/case_00.nii.gz"):
        header = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into("<f", header, 80, float("nan"))  # pixdim[1]
        path.write_bytes(gzip.compress(bytes(header)))
    assert "spacing 2×1×nan, expected positive numbers" in [f.message for f in verify(raw, 1) if f.fatal]
    with pytest.raises(BadData, match=r"case_00: .*spacing 2×1×nan, expected positive numbers"):
        extract(RawDataset.open(raw))


def fold(train: str, val: str) -> dict[str, list[str]]:
    return {"train": [f"case_{name:>02}" for name in train], "val": [f"case_{name:>02}" for name in val]}


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ([fold("01", "2"), fold("12", "0")], []),
        ([fold("001", "2")], ["fold 0 names case_00 more than once in train"]),
        ([fold("01", "2"), fold("0", "22")], ["fold 1 names case_02 more than once in val"]),
        ([fold("012", "2")], ["fold 0 has case_02 in both train and val, so that it is validated on what it was trained on"]),
        ([fold("012", "")], ["fold 0 has no cases in val, so that it cannot be trained"]),
    ],
)
def test_splits_that_are_hardly_meant(raw: Path, folds: Any, said: list[str]) -> None:
    (raw / "splits_final.json").write_text(json.dumps(folds))
    assert splits.warnings(folds) == said
    assert [(f.file, f.message, f.fatal) for f in verify(raw, 1)] == [("splits_final.json", text, False) for text in said]


def test_warnings_of_a_kind_are_one() -> None:
    found = [
        *(Finding(f"c{i}", f"labelsTr/c{i}.nii.gz", f"origin ({i}, 0, 0)", fatal=False, kind="origin") for i in range(9)),
        Finding("c1", "labelsTr/c1.nii.gz", "direction", fatal=False, kind="direction"),
        Finding("c2", "", "a fault"),
    ]
    assert warnings(found) == [
        "c0: labelsTr/c0.nii.gz: origin (0, 0, 0) (and 8 more cases)",
        "c1: labelsTr/c1.nii.gz: direction",
    ]
    many = warnings(Finding("", "splits_final.json", f"fold {i}", fatal=False) for i in range(20))
    assert len(many) == MOST_WARNINGS
    assert many[-1].startswith("and 15 more warnings")


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO"])
@pytest.mark.parametrize(
    ("kind", "factor", "shown"),
    [
        ("f8", 1 + 1e-11, None),
        ("f4", 1, None),
        ("f4", 1.0000001, "1.0000001"),
        ("f8", 0.5, "0.5"),
        ("i8", 2**32 + 1, "42949"),
    ],
)
def test_labels_are_judged_as_they_are_worked_with(raw: Path, reader: str, kind: str, factor: float, shown: str | None) -> None:
    import nibabel

    path = raw / "labelsTr/case_00.nii.gz"
    content = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps({**content, "overwrite_image_reader_writer": reader}))
    label = by_name("NibabelIO").read(path, label=True)
    voxels = ((label.data[0] > 0).astype(kind) * np.array(factor, kind)).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(voxels, label.geometry["nibabel_stuff"]["original_affine"], dtype=kind), path)
    if shown is None:
        assert fatal(raw) == []
        assert set(np.unique(by_name(reader).read_label(path))) == {0, 1}
    else:
        (message,) = fatal(raw)
        assert message.startswith(f"the label holds the value {shown}")


def test_images_that_serve_more_than_once(raw: Path) -> None:
    content = json.loads((raw / "dataset.json").read_text())

    def case(*images: str) -> dict[str, Any]:
        return {"images": [f"imagesTr/{image}.nii.gz" for image in images], "label": "labelsTr/case_00.nii.gz"}

    cases = {"a": case("case_00_0000", "case_00_0001"), "b": case("case_01_0000", "case_00_0001"), "c": case("case_02_0000")}
    cases["c"]["images"] *= 2
    (raw / "dataset.json").write_text(json.dumps({**content, "dataset": cases, "numTraining": 3}))
    warned = [(f.case, f.file, f.message) for f in verify(raw, 1) if f.kind in ("same image", "same channel")]
    assert warned == [
        ("b", "imagesTr/case_00_0001.nii.gz", "this image is the case a's too"),
        ("c", "imagesTr/case_02_0000.nii.gz", "several of the case's channels are this one file"),
    ]
    assert fatal(raw) == []


def test_a_direction_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones(SHAPE, np.uint8)), str(path))
    path.write_bytes(path.read_bytes().replace(b"TransformMatrix = 1", b"TransformMatrix = 0"))
    with pytest.raises(BadData, match="Bad direction, determinant is 0") as caught:
        by_name("SimpleITKIO").read(path)
    assert "\n" not in caught.value.message
    assert "0x" not in caught.value.message


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
@pytest.mark.parametrize("part", ["imagesTr/case_00_0000", "labelsTr/case_00"])
def test_a_pixdim_that_is_replaced_in_silence_is_warned_of(raw: Path, part: str, value: float) -> None:
    path = raw / f"{part}.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<f", content, 80, value)  # along x, which has 1 mm
    path.write_bytes(gzip.compress(bytes(content)))
    (found,) = [f for f in verify(raw, 1) if f.kind == "pixdim"]
    assert (found.case, found.file, found.fatal) == ("case_00", f"{part}.nii.gz", False)
    assert found.message == f"the pixdim along x is {value:g}; 1 mm is taken"
    assert fatal(raw) == []
