"""What a reader takes beside an image: declared for every kind of it, missed by name, and taken along."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_trainer.contract.faults import BadData, StorageFault
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.dataset.readers import READERS, by_name
from nnunet_trainer.dataset.readers.detached import data_files
from nnunet_trainer.dataset.readers.packed import check_packed
from nnunet_trainer.dataset.verification.verify import verify
from support.datasets import make_2d, make_dataset
from support.trainings.companions import KINDS, SPACING, make


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_all_files_of_a_dataset_are_declared(tmp_path: Path, kind: str, listed: bool) -> None:
    """Copying what is declared, and nothing else, makes a dataset that is read in the same way."""
    raw = RawDataset.open(make(tmp_path / "there" / "Dataset001_A", kind, listed=listed))
    assert verify(raw.folder, 1) == []
    reader = by_name(raw.reader)
    declared = set()
    for case in raw.cases.values():
        for path in (*case.images, case.label):
            assert path is not None
            found = reader.companions(path, label=path == case.label)
            assert found
            declared |= {path, *(companion.path for companion in found)}
    copy = tmp_path / "here" / "Dataset001_A"
    for path in (*declared, raw.folder / "dataset.json"):
        target = copy / path.resolve().relative_to(raw.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert verify(copy, 1) == []
    assert sum(path.is_file() for path in copy.rglob("*")) == sum(path.is_file() for path in raw.folder.rglob("*"))
    _, properties = reader.read_images(RawDataset.open(copy).cases["c0"].images)
    np.testing.assert_allclose(properties["spacing"], SPACING)


@pytest.mark.parametrize("part", ["imagesTr/c1_0000", "labelsTr/c1"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tiff"])
def test_a_missing_one_is_found_with_both_names(tmp_path: Path, kind: str, part: str) -> None:
    raw = make(tmp_path / "Dataset001_A", kind)
    ending = KINDS[kind][1]
    path = raw / f"{part}{ending}"
    missing = data_files(path)[-1]
    missing.unlink()
    (found,) = verify(raw, 1)
    assert (found.case, found.file) == ("c1", f"{part}{ending}")
    assert missing.name in found.message
    assert "does not exist" in found.message
    reader = by_name(KINDS[kind][0])
    with pytest.raises(BadData, match="does not exist"):
        reader.read_images([path])
    with pytest.raises(BadData, match="does not exist"):
        reader.channels(path)


def test_a_missing_spacing_is_a_warning_and_another_one_a_fault(tmp_path: Path) -> None:
    raw = make(tmp_path / "Dataset001_A", "tiff")
    (raw / "imagesTr/c1.json").unlink()
    (raw / "labelsTr/c1.json").unlink()
    assert [(f.file, f.fatal) for f in verify(raw, 1)] == [("imagesTr/c1_0000.tif", False), ("labelsTr/c1.tif", False)]
    assert verify(raw, 1)[0].message == "there is no imagesTr/c1.json beside it with its spacing; 1×1×1 is taken"
    (raw / "labelsTr/c1.json").write_text(json.dumps({"spacing": SPACING}))
    assert [f.message for f in verify(raw, 1) if f.fatal] == ["spacing 4×1.5×1, but imagesTr/c1_0000.tif has 1×1×1"]


@pytest.mark.parametrize("content", ["[4, 1, 1]", '{"spacing": [4, 1]}', '{"spacing": [4, 0, 1]}', '{"spacing": "4"}', "{", "null"])
def test_a_spacing_that_is_none(tmp_path: Path, content: str) -> None:
    raw = make(tmp_path / "Dataset001_A", "tiff")
    (raw / "imagesTr/c0.json").write_text(content)
    (found,) = verify(raw, 1)
    assert (found.case, found.file) == ("c0", "imagesTr/c0_0000.tif")
    assert "c0.json" in found.message


@pytest.mark.parametrize("name", ["/etc/c0.raw", "../../c0.raw"])
def test_one_outside_of_the_dataset_is_refused(tmp_path: Path, name: str) -> None:
    raw = make(tmp_path / "Dataset001_A", "mhd")
    shutil.move(raw / "imagesTr/c0_0000.raw", tmp_path / "c0.raw")
    header = raw / "imagesTr/c0_0000.mhd"
    header.write_text(header.read_text().replace("c0_0000.raw", name))
    (found,) = verify(raw, 1)
    assert (found.case, found.file) == ("c0", "imagesTr/c0_0000.mhd")
    assert "outside of the dataset's folder" in found.message


HEADERS = {
    "LOCAL": ("a.mhd", "NDims = 3\nElementDataFile = LOCAL\n\0\1ElementDataFile = x.raw\n", []),
    "spaces": ("a.mhd", "ElementDataFile = a b.raw", ["a b.raw"]),
    "umlauts": ("a.mha", "ElementDataFile=größe.raw\r\n", ["größe.raw"]),
    "steps": ("a.mhd", "ElementDataFile = s%02d.raw 2 6 2", ["s02.raw", "s04.raw", "s06.raw"]),
    "none": ("a.mhd", "NDims = 3\n", []),
    "attached": ("a.nrrd", "NRRD0004\ntype: float\n\ndata file: x.raw\n", []),
    "comment": ("a.nrrd", "NRRD0004\n# data file: x.raw\ndatafile: y.raw\n\n", ["y.raw"]),
    "LIST": ("a.nhdr", "NRRD0004\ndata file: LIST 2\n1.raw\n2.raw\n", ["1.raw", "2.raw"]),
    "pattern": ("a.nhdr", "NRRD0004\ndata file: s%d.raw 1 3 1 2\n", ["s1.raw", "s2.raw", "s3.raw"]),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_what_headers_name(tmp_path: Path, kind: str) -> None:
    name, content, expected = HEADERS[kind]
    (tmp_path / name).write_bytes(content.encode())
    assert [path.name for path in data_files(tmp_path / name)] == expected


@pytest.mark.parametrize("pattern", ["s%d.raw 1 3 0", "s%d.raw 1 x 1", "s%d.raw 1 9999999 1", "s%q.raw 1 3 1"])
def test_a_header_that_makes_no_sense_is_a_finding(tmp_path: Path, pattern: str) -> None:
    raw = make(tmp_path / "Dataset001_A", "mhd")
    header = raw / "imagesTr/c0_0000.mhd"
    header.write_text(header.read_text().replace("c0_0000.raw", pattern))
    (found,) = verify(raw, 1)
    assert (found.case, found.file) == ("c0", "imagesTr/c0_0000.mhd")


def test_most_images_have_none(tmp_path: Path) -> None:
    for raw in (make_dataset(tmp_path / "Dataset001_A"), make_2d(tmp_path / "Dataset002_P")):
        opened = RawDataset.open(raw)
        for case in opened.cases.values():
            assert not any(by_name(opened.reader).companions(path) for path in case.images)
        assert not by_name(opened.reader).may_have_companions(opened.file_ending)
    assert not any(reader.may_have_companions(".nii.gz") for reader in READERS.all() if reader.name != "Tiff3DIO")


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_is_copied_with_what_belongs_to_it(tmp_path: Path, kind: str) -> None:
    name, ending, _ = KINDS[kind]
    reader = by_name(name)
    label = make(tmp_path / "Dataset001_A", kind) / f"labelsTr/c1{ending}"
    before, properties = reader.read_seg(label)
    target = tmp_path / "gt" / f"another name{ending}"
    written = reader.copy_label(label, target)
    assert written[-1] == target
    assert set(written) == set((tmp_path / "gt").iterdir())
    shutil.rmtree(tmp_path / "Dataset001_A")
    after, same = reader.read_seg(target)
    assert np.array_equal(before, after)
    np.testing.assert_allclose(same["spacing"], properties["spacing"])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".gipl", ".hdr", ".mha", ".mhd", ".nrrd", ".nhdr"])
def test_voxels_that_end_too_early(tmp_path: Path, ending: str) -> None:
    """ITK fills what a NIfTI or GIPL file lacks, and says nothing."""
    path = tmp_path / f"a_0000{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(0).normal(5, 1, (6, 7, 8)).astype(np.float32)), str(path))
    reader = by_name("SimpleITKIO")
    reader.read(path)
    voxels = data_files(path)[0] if ending in (".hdr", ".mhd", ".nhdr") else path
    voxels.write_bytes(voxels.read_bytes()[:-100])
    with pytest.raises(BadData, match=rf"a_0000{ending}: .*(truncated|shorter|expected)"):
        reader.read(path)


def test_a_segmentation_is_written_at_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = by_name("SimpleITKIO")
    properties = {"sitk_stuff": {"spacing": (1.0,) * 3, "origin": (0.0,) * 3, "direction": tuple(np.eye(3).ravel())}}
    reader.write(np.ones((3, 4, 5), np.uint8), tmp_path / "a.mhd", properties)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mhd", "a.zraw"]
    assert reader.is_whole(tmp_path / "a.mhd")
    (tmp_path / "a.zraw").unlink()
    assert not reader.is_whole(tmp_path / "a.mhd")
    assert not reader.is_whole(tmp_path / "b.mhd")

    def fail(*_: object) -> None:
        raise RuntimeError("ITK ERROR: it does not fit")

    monkeypatch.setattr(type(reader), "write_seg", fail)
    with pytest.raises(BadData, match=r"c\.mhd cannot be written by SimpleITKIO: ITK ERROR: it does not fit"):
        reader.write(np.ones((3, 4, 5), np.uint8), tmp_path / "c.mhd", properties)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageFault, match=r"c\.mhd cannot be written: No space left on device"):
        reader.write(np.ones((3, 4, 5), np.uint8), tmp_path / "c.mhd", properties)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mhd"]


def names(*numbers: int) -> str:
    return "".join(f"c1_0000.{number:03}.raw\n" for number in numbers)


LEFT_OUT = {
    "a list that is too short": ("LIST\n" + names(0, 1, 2), "3 files of voxels, its DimSize 16 16 8 needs 8"),
    "a list of files of other dimensions": ("LIST 1D\n" + names(*range(8)), "8 files of voxels, its DimSize 16 16 8 needs 128"),
    "a list of whole images": ("LIST 3\n" + names(0), "files of 3 dimensions, expected 1 to 2"),
    "a list without its last line feed": ("LIST\n" + names(*range(8)).rstrip(), "has no line feed"),
    "a pattern of too few": ("c1_0000.%03d.raw 0 4 1\n", "5 files of voxels, its DimSize 16 16 8 needs 8"),
    "a pattern of every other": ("c1_0000.%03d.raw 0 7 2\n", "4 files of voxels, its DimSize 16 16 8 needs 8"),
    "a pattern of too many": ("c1_0000.%03d.raw 0 8 1\n", "9 files of voxels, its DimSize 16 16 8 has room for 8"),
    "a pattern without its step": ("c1_0000.%03d.raw 0 7\n", "is no pattern of file names"),
    "a name with a per cent sign": ("50%_0000.raw\n", "is no pattern of file names"),
    "a name with a per cent sign and spaces": ("a 50% b.raw\n", "is no pattern of file names"),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_voxels_that_itk_would_leave_undefined(tmp_path: Path, kind: str) -> None:
    """ITK reads these without a word: into memory that nobody wrote to, or beyond it."""
    value, message = LEFT_OUT[kind]
    raw = make(tmp_path / "Dataset001_A", "mhd, slices")
    header = raw / "imagesTr/c1_0000.mhd"
    text = header.read_text()
    header.write_text(text[: text.index("ElementDataFile")] + f"ElementDataFile = {value}")
    (found,) = verify(raw, 1)
    assert (found.case, found.file) == ("c1", "imagesTr/c1_0000.mhd")
    assert message in found.message
    with pytest.raises(BadData, match=r"c1_0000\.mhd: its header cannot be read"):
        by_name("SimpleITKIO").read(header)


@pytest.mark.parametrize("value", ["c1_0000.%03d.raw\n", "c1_0000.%03d.raw 1\n", "c1_0000.%03d.raw 1 8 1\n"])
def test_numbers_that_a_pattern_leaves_out_are_itks(tmp_path: Path, value: str) -> None:
    raw = make(tmp_path / "Dataset001_A", "mhd, slices")
    header = raw / "imagesTr/c1_0000.mhd"
    expected = by_name("SimpleITKIO").read(header).data
    for index in reversed(range(8)):
        header.with_name(f"c1_0000.{index:03}.raw").rename(header.with_name(f"c1_0000.{index + 1:03}.raw"))
    text = header.read_text()
    header.write_text(text[: text.index("ElementDataFile")] + f"ElementDataFile = {value}")
    assert verify(raw, 1) == []
    assert np.array_equal(by_name("SimpleITKIO").read(header).data, expected)


@pytest.mark.parametrize("damage", ["another byte", "cut"])
@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".mhd", ".nhdr"])
def test_damage_in_packed_voxels(tmp_path: Path, ending: str, damage: str) -> None:
    path = tmp_path / f"a{ending}"
    voxels = np.random.default_rng(0).normal(size=(8, 16, 16)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path), True)
    check_packed(path)
    file = next(iter(data_files(path)), path)
    content = bytearray(file.read_bytes())
    if damage == "cut":
        del content[-3:]
    else:
        content[len(content) * 3 // 4] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"(damaged|truncated): what is packed in {file.name}"):
        check_packed(path)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path), False)
    check_packed(path)


def test_verifying_finds_damage_in_packed_voxels(tmp_path: Path) -> None:
    raw = make(tmp_path / "Dataset001_A", "mhd, packed")
    file = raw / "imagesTr/c1_0000.zraw"
    content = bytearray(file.read_bytes())
    content[-1] ^= 0xFF  # of the checksum, which ITK does not look at
    file.write_bytes(content)
    (found,) = verify(raw, 1)
    assert (found.case, found.file) == ("c1", "imagesTr/c1_0000.mhd")
    assert "c1_0000.zraw" in found.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encoding_of_a_spacing(tmp_path: Path, encoding: str) -> None:
    raw = make(tmp_path / "Dataset001_A", "tiff")
    (raw / "imagesTr/c0.json").write_text(json.dumps({"spacing": SPACING}), encoding=encoding)
    messages = [(f.file, f.message) for f in verify(raw, 1)]
    assert messages == ([("imagesTr/c0_0000.tif", "imagesTr/c0.json: not UTF-8 text")] if encoding == "utf-16" else [])
