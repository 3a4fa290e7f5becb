"""Every reader against the wheel's, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.dataset.readers import by_name, choose
from support.datasets import SOURCE, make_2d
from support.third_party import wheel


def oblique(path: Path, rng: np.random.Generator, label: bool = False) -> Path:
    """A NIfTI whose axes are permuted, flipped and slightly turned."""
    import nibabel

    data = rng.integers(0, 3, (5, 7, 9)).astype(np.uint8) if label else rng.normal(0, 1, (5, 7, 9)).astype(np.float32)
    turn = np.array([[0, -1, 0], [0.995, 0, 0.0998], [-0.0998, 0, 0.995]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, 1.5, -2.5])
    affine[:3, 3] = (3, -4, 5)
    nibabel.save(nibabel.Nifti1Image(data, affine), str(path))
    return path


def tiff(path: Path, rng: np.random.Generator) -> Path:
    import tifffile

    tifffile.imwrite(path, rng.integers(0, 99, (4, 6, 5)).astype(np.uint16))
    return path


def theirs(name: str) -> Any:
    from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name

    return recursive_find_reader_writer_by_name(name)()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[key], b[key]) for key in a)
    return a == b if isinstance(a, str) else bool(np.array_equal(np.asarray(a, float), np.asarray(b, float)))


@pytest.mark.reference
@pytest.mark.parametrize("name", ["SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient"])
def test_nifti(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(3)
    files = [oblique(tmp_path / f"c_{i:04}.nii.gz", rng) for i in range(2)]
    label = oblique(tmp_path / "c.nii.gz", rng, label=True)
    with wheel.quiet():
        data, properties = theirs(name).read_images([str(f) for f in files])
        seg, _ = theirs(name).read_seg(str(label))
    own, own_properties = by_name(name).read_images(files)
    assert own.dtype == np.float32
    assert np.array_equal(own, data)
    assert same(own_properties, properties)
    own_seg, _ = by_name(name).read_seg(label)
    assert np.array_equal(own_seg, seg)
    by_name(name).write_seg(own_seg[0], tmp_path / "ours.nii.gz", own_properties)
    with wheel.quiet():
        theirs(name).write_seg(seg[0], str(tmp_path / "theirs.nii.gz"), properties)
        back, back_properties = theirs("SimpleITKIO").read_seg(str(tmp_path / "ours.nii.gz"))
        expected, expected_properties = theirs("SimpleITKIO").read_seg(str(tmp_path / "theirs.nii.gz"))
    assert np.array_equal(back, expected)
    assert same(back_properties, expected_properties)


@pytest.mark.reference
@pytest.mark.parametrize("rgb", [True, False])
def test_photographs(tmp_path: Path, rgb: bool) -> None:
    case = RawDataset.open(make_2d(tmp_path / "raw", rgb=rgb)).cases["img_1"]
    data, properties = theirs("NaturalImage2DIO").read_images([str(f) for f in case.images])
    own, own_properties = by_name("NaturalImage2DIO").read_images(case.images)
    assert np.array_equal(own, data)
    assert same(own_properties, properties)
    assert case.label is not None
    seg, _ = by_name("NaturalImage2DIO").read_seg(case.label)
    by_name("NaturalImage2DIO").write_seg(seg[0], tmp_path / "back.png", own_properties)
    assert np.array_equal(theirs("NaturalImage2DIO").read_seg(str(tmp_path / "back.png"))[0], seg)


@pytest.mark.reference
def test_tiff_with_its_spacing_beside(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, label = tiff(tmp_path / "c_0000.tif", rng), tiff(tmp_path / "l.tif", rng)
    (tmp_path / "c.json").write_text('{"spacing": [3, 1.5, 0.7]}')
    with wheel.quiet():
        data, properties = theirs("Tiff3DIO").read_images([str(image)])
        seg, _ = theirs("Tiff3DIO").read_seg(str(label))
    own, own_properties = by_name("Tiff3DIO").read_images([image])
    assert np.array_equal(own, data)
    assert same(own_properties, properties)
    own_seg, seg_properties = by_name("Tiff3DIO").read_seg(label)
    assert np.array_equal(own_seg, seg)
    assert seg_properties["spacing"] == [1, 1, 1]
    by_name("Tiff3DIO").write_seg(own_seg[0], tmp_path / "out.tif", own_properties)
    with wheel.quiet():
        back, back_properties = theirs("Tiff3DIO").read_seg(str(tmp_path / "out.tif"))
    assert np.array_equal(back, own_seg)
    assert back_properties["spacing"] == [3, 1.5, 0.7]


@pytest.mark.reference
def test_the_choice_is_the_wheels(tmp_path: Path) -> None:
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    rng = np.random.default_rng(0)
    skewed = tmp_path / "skewed_0000.nii.gz"
    import nibabel

    affine = np.array([[1.0, 0.4, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # not orthonormal: ITK refuses it
    nibabel.save(nibabel.Nifti1Image(rng.normal(0, 1, (5, 6, 7)), affine), str(skewed))
    first = next(iter(RawDataset.open(SOURCE).cases.values())).images[0]
    photograph = next(iter(RawDataset.open(make_2d(tmp_path / "raw")).cases.values())).images[0]
    for ending, example in (
        (".nii.gz", first),
        (".nii.gz", skewed),
        (".tif", tiff(tmp_path / "t_0000.tif", rng)),
        (".png", photograph),
    ):
        described = {"file_ending": ending}
        with wheel.quiet():
            expected = determine_reader_writer_from_dataset_json(described, str(example), verbose=False).__name__
        assert choose(described, example).name == expected


def test_nothing_can_read_it(tmp_path: Path) -> None:
    broken = tmp_path / "a_0000.nii.gz"
    broken.write_bytes(b"garbage")
    with pytest.raises(BadData, match="no reader can read it: not a gzip file"):
        choose({"file_ending": ".nii.gz"}, broken)


def test_an_unknown_reader_names_the_known() -> None:
    with pytest.raises(BadConfiguration, match="SimpleITKIO"):
        by_name("SimpleITK")
    assert by_name("SimpleITKIO").name == "SimpleITKIO"
