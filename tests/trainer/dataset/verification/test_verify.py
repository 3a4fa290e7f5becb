"""What is wrong with a dataset, all of it at once, with case, file, what was found and what was expected."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nnunet_trainer import cli
from nnunet_trainer.dataset.verification.verify import Finding, verify
from support.datasets import TARGET, make_2d, make_dataset, write_nifti

SHAPE, SPACING = (8, 14, 12), (2.0, 1.0, 1.0)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "Dataset001_A", channels=("MRI", "PET"), shape=SHAPE, spacing=SPACING, jitter=0)


def image(raw: Path, case: int, channel: int = 0) -> Path:
    return raw / "imagesTr" / f"case_{case:02}_{channel:04}.nii.gz"


def label(raw: Path, case: int) -> Path:
    return raw / "labelsTr" / f"case_{case:02}.nii.gz"


def ones(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.ones(shape, np.float32)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def shorten_inside(path: Path) -> None:
    """A gzip file that is whole, around an image that is not."""
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: len(content) // 2]))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    array[1, 2, 3] = value
    return array


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/image.nii.gz")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FAULTS: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "truncated image": (lambda raw: truncate(image(raw, 0)), "case_00", "imagesTr/case_00_0000.nii.gz", "truncated"),
    "truncated inside": (lambda raw: shorten_inside(image(raw, 0)), "case_00", "imagesTr/case_00_0000.nii.gz", "truncated"),
    "damaged": (lambda raw: damage(image(raw, 0)), "case_00", "imagesTr/case_00_0000.nii.gz", "damaged"),
    "truncated label": (lambda raw: truncate(label(raw, 1)), "case_01", "labelsTr/case_01.nii.gz", "truncated"),
    "no gzip": (lambda raw: image(raw, 0).write_bytes(b"x" * 999), "case_00", "imagesTr/case_00_0000.nii.gz", "not a gzip"),
    "empty file": (
        lambda raw: image(raw, 0).write_bytes(b""),
        "case_00",
        "imagesTr/case_00_0000.nii.gz",
        "is empty: it has 0 b",
    ),
    "empty label": (lambda raw: label(raw, 0).write_bytes(b""), "case_00", "labelsTr/case_00.nii.gz", "is empty: it has 0 b"),
    "link to nothing": (
        lambda raw: replace_by_link(image(raw, 0)),
        "case_00",
        "imagesTr/case_00_0000.nii.gz",
        "is a link to /nowhere/image.nii.gz, which does not exist",
    ),
    "folder": (
        lambda raw: replace_by_folder(image(raw, 0)),
        "case_00",
        "imagesTr/case_00_0000.nii.gz",
        "is a folder; expected a file",
    ),
    "folder as label": (lambda raw: replace_by_folder(label(raw, 0)), "case_00", "labelsTr/case_00.nii.gz", "is a folder"),
    "no label": (lambda raw: label(raw, 2).unlink(), "case_02", "imagesTr/case_02_0000.nii.gz", "without a label"),
    "no image": (
        lambda raw: [image(raw, 2, c).unlink() for c in (0, 1)],
        "case_02",
        "labelsTr/case_02.nii.gz",
        "a label without an image",
    ),
    "no channel": (lambda raw: image(raw, 1, 1).unlink(), "case_01", "imagesTr/case_01_0000.nii.gz", "1 channel in 1 file"),
    "label value": (
        lambda raw: write_nifti(label(raw, 0), with_value(ones(), 7).astype(np.uint8), SPACING),
        "case_00",
        "labelsTr/case_00.nii.gz",
        "holds the value 7, dataset.json names 0 to 2",
    ),
    "label shape": (
        lambda raw: write_nifti(label(raw, 0), ones((8, 14, 11)).astype(np.uint8), SPACING),
        "case_00",
        "labelsTr/case_00.nii.gz",
        "shape 8×14×11, but imagesTr/case_00_0000.nii.gz has 8×14×12",
    ),
    "label spacing": (
        lambda raw: write_nifti(label(raw, 0), ones().astype(np.uint8), (3, 1, 1)),
        "case_00",
        "labelsTr/case_00.nii.gz",
        "spacing 3×1×1, but imagesTr/case_00_0000.nii.gz has 2×1×1",
    ),
    "channel shape": (
        lambda raw: write_nifti(image(raw, 1, 1), ones((8, 13, 12)), SPACING),
        "case_01",
        "imagesTr/case_01_0001.nii.gz",
        "shape 8×13×12",
    ),
    "channel spacing": (
        lambda raw: write_nifti(image(raw, 1, 1), ones(), (2, 1, 1.5)),
        "case_01",
        "imagesTr/case_01_0001.nii.gz",
        "spacing 2×1×1.5",
    ),
    "NaN": (
        lambda raw: write_nifti(image(raw, 1), with_value(ones(), np.nan), SPACING),
        "case_01",
        "imagesTr/case_01_0000.nii.gz",
        "1 voxel is NaN, the first at z, y, x = 1, 2, 3",
    ),
    "infinite": (
        lambda raw: write_nifti(image(raw, 1), with_value(ones(), np.inf), SPACING),
        "case_01",
        "imagesTr/case_01_0000.nii.gz",
        "1 voxel is infinite",
    ),
    "stray": (lambda raw: (raw / "imagesTr" / "odd.nii.gz").touch(), "", "imagesTr/odd.nii.gz", "no channel number"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_by_itself(raw: Path, name: str) -> None:
    cause, case, file, said = FAULTS[name]
    assert verify(raw, 1) == []
    cause(raw)
    findings = [f for f in verify(raw, 1) if f.fatal and f.file != "dataset.json"]
    assert findings, "nothing found"
    assert [(f.case, f.file) for f in findings] == [(case, file)]
    assert said in findings[0].message


def test_all_faults_at_once(raw: Path) -> None:
    truncate(image(raw, 0))
    write_nifti(image(raw, 1), with_value(ones(), np.nan), SPACING)
    write_nifti(label(raw, 1), with_value(ones(), 9).astype(np.uint8), SPACING)
    label(raw, 2).unlink()
    found = {(f.case, f.file) for f in verify(raw, 2)}
    assert found == {
        ("case_00", "imagesTr/case_00_0000.nii.gz"),
        ("case_01", "imagesTr/case_01_0000.nii.gz"),
        ("case_01", "labelsTr/case_01.nii.gz"),
        ("case_02", "imagesTr/case_02_0000.nii.gz"),
    }


def test_another_origin_is_a_warning(raw: Path) -> None:
    write_nifti(label(raw, 0), ones().astype(np.uint8), SPACING, origin=(5.0, 0.0, 0.0))
    findings = verify(raw, 1)
    assert [f.fatal for f in findings] == [False]
    assert "origin (5, 0, 0)" in findings[0].message


def test_an_empty_folder(tmp_path: Path) -> None:
    assert [f.file for f in verify(tmp_path)] == ["dataset.json"]
    make = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}, "numTraining": 1, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(make))
    assert [f.file for f in verify(tmp_path)] == ["imagesTr", "labelsTr"]
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    assert verify(tmp_path) == [Finding("", "imagesTr", "no image with the ending .nii.gz")]


def test_the_number_of_cases(raw: Path) -> None:
    content = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps({**content, "numTraining": 7}))
    assert [f.message for f in verify(raw, 1)] == ["field numTraining is 7, there are 3 training cases"]


def test_photographs(tmp_path: Path) -> None:
    raw = make_2d(tmp_path / "Dataset001_P")
    assert verify(raw, 1) == []
    (raw / "imagesTr" / "img_0_0000.png").write_bytes(b"no image")
    assert [f.case for f in verify(raw, 1)] == ["img_0"]


@pytest.mark.parametrize(
    ("cases", "own", "said"), [(1, False, "1 case is"), (4, False, "4 cases are"), (5, False, ""), (1, True, "")]
)
def test_too_few_cases_for_five_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str], cases: int, own: bool, said: str) -> None:
    raw = make_dataset(tmp_path / "Dataset001_A", cases=cases)
    if own:
        (raw / "splits_final.json").write_text(json.dumps([{"train": ["case_00"], "val": ["case_00"]}]))
    assert cli.main(["verify", str(raw), "--workers", "1"]) == 0
    assert re.findall("^Warning: (.*) too few for 5 folds: train with fold all", capsys.readouterr().out, re.MULTILINE) == [
        said
    ] * bool(said)


def test_command(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(TARGET), "--workers", "1"]) == 0
    assert "12 cases, read by SimpleITKIO. No faults." in capsys.readouterr().out
    truncate(image(raw, 0))
    label(raw, 2).unlink()
    assert cli.main(["verify", str(raw), "--workers", "1"]) == 65
    said = capsys.readouterr().err
    assert "case_00: imagesTr/case_00_0000.nii.gz: " in said
    assert "2 faults in 2 cases." in said
    assert "Traceback" not in said


def test_a_file_that_is_not_packed_is_read_all_the_same(raw: Path) -> None:
    path = image(raw, 0)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(content)  # as NIfTI's own library reads it
    assert verify(raw, 1) == []
    path.write_bytes(content[:-100])
    assert [f.file for f in verify(raw, 1)] == ["imagesTr/case_00_0000.nii.gz"]
    assert "truncated" in verify(raw, 1)[0].message


def test_a_file_of_several_gzip_members(raw: Path) -> None:
    path = image(raw, 0)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(b"".join(gzip.compress(content[i : i + 1000]) for i in range(0, len(content), 1000)))  # as pigz or bgzip
    assert verify(raw, 1) == []


@pytest.mark.parametrize("part", ["image", "label"])
def test_names_that_only_look_the_same(raw: Path, part: str) -> None:
    """macOS's file systems and archives decompose letters with accents."""
    composed = unicodedata.normalize("NFC", "müller")
    decomposed = unicodedata.normalize("NFD", composed)
    names = (decomposed, composed) if part == "image" else (composed, decomposed)
    for channel in (0, 1):
        image(raw, 0, channel).rename(raw / "imagesTr" / f"{names[0]}_{channel:04}.nii.gz")
    label(raw, 0).rename(raw / "labelsTr" / f"{names[1]}.nii.gz")
    findings = verify(raw, 1)
    assert sorted(f.case for f in findings) == sorted(names)
    assert all("encoded in another way (Unicode's NFC and NFD)" in f.message for f in findings)


@pytest.mark.parametrize("value", [0.0, 7.0, -1000.0])
def test_an_image_without_contrast_is_warned_of(raw: Path, value: float) -> None:
    write_nifti(image(raw, 1, 1), np.full(SHAPE, value, np.float32), SPACING)
    (found,) = verify(raw, 1)
    assert (found.case, found.fatal) == ("case_01", False)
    assert found.message.startswith(f"every voxel is {value:g}: ")
    assert "missing modality" in found.message
    write_nifti(image(raw, 1, 1), with_value(np.full(SHAPE, value, np.float32), 3), SPACING)
    assert verify(raw, 1) == []


@pytest.mark.parametrize("reader", ["NaturalImage2DIO", "Tiff3DIO", "NibabelIO"])
def test_a_reader_of_other_files(tmp_path: Path, reader: str) -> None:
    """The files are whole: it is dataset.json that names the wrong reader."""
    make = make_dataset if reader == "NaturalImage2DIO" else make_2d
    raw = make(tmp_path / "Dataset001_A", cases=1)
    content = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps({**content, "overwrite_image_reader_writer": reader}))
    findings = [finding.message for finding in verify(raw, 1) if finding.fatal]
    assert len(findings) == 2  # the image, the label
    for message in findings:
        assert f"cannot be read by {reader}: " in message
        assert "overwrite_image_reader_writer chooses another reader" in message
