"""A file may hold several channels: every kind of such files through every reader, and segmentations of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.dataset.readers import READERS, by_name, choose
from nnunet_trainer.dataset.verification.verify import verify
from support.datasets import describe
from support.third_party import wheel

SHAPE = (4, 6, 5)
SPACING, ORIGIN = (0.8, 1.5, 2.5), (3.0, -4.0, 5.0)
DIRECTION = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
NIFTI_READERS = ("SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient")


def voxels(channels: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(5).integers(1, 200, (channels, *shape)).astype(np.uint8)


def placed(array: np.ndarray, vector: bool = False) -> sitk.Image:
    image = sitk.GetImageFromArray(array, isVector=vector)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(DIRECTION)
    return image


def fourth_axis(path: Path, data: np.ndarray) -> None:
    sitk.WriteImage(sitk.JoinSeries([placed(channel) for channel in data]), str(path))


def components(path: Path, data: np.ndarray) -> None:
    sitk.WriteImage(placed(np.moveaxis(data, 0, -1), vector=True), str(path))


def structured(path: Path, data: np.ndarray) -> None:
    """NIfTI's own RGB."""
    voxels = np.zeros(data.shape[:0:-1], [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name, channel in zip("RGB", data, strict=True):
        voxels[name] = channel.transpose(2, 1, 0)
    placed_affine = affine()
    nibabel.save(nibabel.Nifti1Image(voxels, placed_affine), str(path))


def affine() -> np.ndarray:
    """The same place in RAS."""
    found = np.eye(4)
    found[:3, :3] = np.diag([-1, -1, 1]) @ np.reshape(DIRECTION, (3, 3)) @ np.diag(SPACING)
    found[:3, 3] = np.array(ORIGIN) * [-1, -1, 1]
    return found


Write = Callable[[Path, np.ndarray], None]
KINDS: list[tuple[str, str, Write]] = [
    *((reader, ending, fourth_axis) for reader in NIFTI_READERS for ending in (".nii.gz", ".nii", ".hdr", ".img")),
    *((reader, ending, components) for reader in NIFTI_READERS for ending in (".nii.gz", ".nii")),
    *((reader, ".nii.gz", structured) for reader in NIFTI_READERS),
    *(("SimpleITKIO", ending, kind) for ending in (".nrrd", ".nhdr", ".mha", ".mhd") for kind in (fourth_axis, components)),
]


@pytest.mark.parametrize(("reader_name", "ending", "kind"), KINDS, ids=[f"{r}{e}-{k.__name__}" for r, e, k in KINDS])
def test_channels_come_first_and_a_segmentation_is_three_dimensional(
    tmp_path: Path, reader_name: str, ending: str, kind: Write
) -> None:
    reader, data = by_name(reader_name), voxels(3)
    path, alone = tmp_path / f"a_0000{ending}", tmp_path / "alone_0000.nii.gz"
    kind(path, data)
    sitk.WriteImage(placed(data[1]), str(alone))
    assert reader.channels(path) == 3
    read, properties = reader.read_images([path])
    # One channel in a file of its own is turned in the same way, where the reader turns.
    expected, expected_properties = reader.read_images([alone])
    assert read.shape[0] == 3
    assert np.array_equal(read[1:2], expected)
    np.testing.assert_allclose(properties["spacing"], expected_properties["spacing"], rtol=1e-6)
    segmentation = (expected[0] > 100).astype(np.uint8)
    written = tmp_path / "out" / f"a{ending}"
    assert reader.write(segmentation, written, properties)[-1] == written
    back = sitk.ReadImage(str(written))
    assert (back.GetDimension(), back.GetNumberOfComponentsPerPixel()) == (3, 1)
    assert np.array_equal(sitk.GetArrayFromImage(back), (data[1] > 100).astype(np.uint8))
    np.testing.assert_allclose(back.GetSpacing(), SPACING, rtol=1e-6)
    np.testing.assert_allclose(back.GetOrigin(), ORIGIN, rtol=1e-6)
    np.testing.assert_allclose(back.GetDirection(), DIRECTION, atol=1e-6)
    again, _ = reader.read_seg(written)
    assert np.array_equal(again[0], segmentation)
    assert not [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


@pytest.mark.reference
def test_four_dimensions_are_read_as_nnunet_reads_them(tmp_path: Path) -> None:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    for ending in (".nii.gz", ".nrrd", ".mha"):
        fourth_axis(tmp_path / f"a_0000{ending}", voxels(2))
        with wheel.quiet():
            data, properties = SimpleITKIO().read_images([str(tmp_path / f"a_0000{ending}")])
        own, own_properties = by_name("SimpleITKIO").read_images([tmp_path / f"a_0000{ending}"])
        assert np.array_equal(own, data)
        assert list(own_properties["spacing"]) == list(properties["spacing"])


def test_what_was_preprocessed_with_the_geometry_of_four_axes_is_exported(tmp_path: Path) -> None:
    """As nnU-Net's own preprocessing writes it down."""
    geometry = {
        "spacing": (*SPACING, 1.0),
        "origin": (*ORIGIN, 0.0),
        "direction": tuple(np.block([[np.reshape(DIRECTION, (3, 3)), np.zeros((3, 1))], [np.zeros((1, 3)), np.eye(1)]]).ravel()),
    }
    by_name("SimpleITKIO").write(
        np.ones(SHAPE, np.uint8), tmp_path / "a.nii.gz", {"sitk_stuff": geometry, "spacing": SPACING[::-1]}
    )
    back = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_allclose(back.GetDirection(), DIRECTION, atol=1e-6)
    np.testing.assert_allclose(back.GetOrigin(), ORIGIN)


@pytest.mark.parametrize(
    ("ending", "planes"),
    [(ending, planes) for ending in (".png", ".bmp", ".tif") for planes in (1, 3, 4) if (ending, planes) != (".bmp", 4)],
)  # of a BMP file, Pillow drops the fourth plane
def test_photographs(tmp_path: Path, ending: str, planes: int) -> None:
    import imageio.v3 as iio

    image = np.random.default_rng(1).integers(0, 255, (7, 9, planes)).astype(np.uint8)
    path = tmp_path / f"a_0000{ending}"
    if ending == ".tif":
        tifffile.imwrite(path, image[..., 0] if planes == 1 else image, photometric="minisblack" if planes == 1 else "rgb")
    else:
        iio.imwrite(path, image[..., 0] if planes == 1 else image)
    reader = by_name("NaturalImage2DIO")
    read, properties = reader.read_images([path])
    assert reader.channels(path) == len(read) == planes
    assert np.array_equal(read[:, 0], image.transpose(2, 0, 1))
    header = reader.header(path)
    assert header is not None
    assert header.shape == read.shape[1:]
    reader.write((read[0] > 99).astype(np.uint8), tmp_path / f"s{ending}", properties)
    assert reader.read_seg(tmp_path / f"s{ending}")[0].shape == (1, 1, 7, 9)


def test_files_with_several_channels_beside_files_with_one(tmp_path: Path) -> None:
    data = voxels(4)
    fourth_axis(tmp_path / "a_0000.nii.gz", data[:2])
    sitk.WriteImage(placed(data[2]), str(tmp_path / "a_0001.nii.gz"))
    components(tmp_path / "a_0002.nii.gz", np.stack([data[3], data[3]]))
    for name in NIFTI_READERS:
        reader = by_name(name)
        files = [tmp_path / f"a_000{i}.nii.gz" for i in range(3)]
        read, _ = reader.read_images(files)
        assert [reader.channels(path) for path in files] == [2, 1, 2]
        assert len(read) == 5
        assert np.array_equal(read[3], read[4])


@pytest.mark.parametrize("name", NIFTI_READERS)
@pytest.mark.parametrize("kind", [fourth_axis, components])
def test_a_label_has_one_channel(tmp_path: Path, name: str, kind: Write) -> None:
    for channels in (2, 4):  # four channels, as there are slices: no shape hides them
        kind(tmp_path / "a.nii.gz", voxels(channels) % 2)
        for read in (by_name(name).read_seg, by_name(name).read_label):
            with pytest.raises(BadData, match=rf"a\.nii\.gz: one channel expected in a label, {channels} found"):
                read(tmp_path / "a.nii.gz")


def test_one_channel_on_a_fourth_axis_is_a_label(tmp_path: Path) -> None:
    fourth_axis(tmp_path / "a.nii.gz", voxels(1) % 2)
    for name in NIFTI_READERS:
        assert by_name(name).read_label(tmp_path / "a.nii.gz").shape[0] == 1


UNREADABLE: dict[str, tuple[str, str, np.ndarray]] = {
    "five axes": ("NibabelIO", ".nii.gz", np.zeros((5, 6, 4, 2, 3), np.float32)),
    "two axes": ("NibabelIO", ".nii.gz", np.zeros((5, 6), np.float32)),
    "complex": ("NibabelIO", ".nii.gz", np.zeros((5, 6, 4), np.complex64)),
    "complex, by ITK": ("SimpleITKIO", ".nii.gz", np.zeros((5, 6, 4), np.complex64)),
    "five axes, by ITK": ("SimpleITKIO", ".nii.gz", np.zeros((5, 6, 4, 2, 3), np.float32)),
}


@pytest.mark.parametrize("fault", UNREADABLE)
@pytest.mark.parametrize("part", ["image", "label"])
def test_what_no_reader_can_take_is_found_first(tmp_path: Path, fault: str, part: str) -> None:
    reader, ending, array = UNREADABLE[fault]
    raw = dataset(tmp_path, reader, ending)
    file = raw / ("imagesTr/a_0000" if part == "image" else "labelsTr/a")
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), f"{file}{ending}")
    found = [finding for finding in verify(raw, 1) if finding.fatal and finding.case]
    assert [(finding.case, finding.file) for finding in found] == [("a", f"{file.relative_to(raw)}{ending}")]
    assert "dimensions" in found[0].message or "complex" in found[0].message


@pytest.mark.parametrize("name", ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_verifying_counts_channels(tmp_path: Path, name: str) -> None:
    raw = dataset(tmp_path, name, ".nii.gz")
    assert verify(raw, 1) == []
    fourth_axis(raw / "imagesTr/a_0000.nii.gz", voxels(3))
    assert [f.message for f in verify(raw, 1)] == ["3 channels in 1 file, dataset.json names 2"]
    fourth_axis(raw / "labelsTr/a.nii.gz", voxels(3) % 2)
    assert "one channel expected in a label, 3 found" in [f.message for f in verify(raw, 1)]


def dataset(folder: Path, reader: str, ending: str) -> Path:
    """One case of two channels in one file."""
    raw = folder / "Dataset001_A"
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    fourth_axis(raw / f"imagesTr/a_0000{ending}", voxels(2))
    sitk.WriteImage(placed(voxels(1)[0] % 2), str(raw / f"labelsTr/a{ending}"))
    describe(raw, ("MRI", "PET"), {"background": 0, "x": 1}, 1, ending, None)
    content = (raw / "dataset.json").read_text()
    (raw / "dataset.json").write_text(content.replace("{", f'{{"overwrite_image_reader_writer": "{reader}", ', 1))
    assert RawDataset.open(raw).reader == reader
    assert reader in READERS
    return raw


@pytest.mark.parametrize("name", ["Tiff3DIO", "NaturalImage2DIO"])
def test_an_ome_tiff_of_several_files_is_refused(tmp_path: Path, name: str) -> None:
    """tifffile follows the names in its description, and takes zeros for what is not there."""
    ids = {
        "a_0000.tif": "urn:uuid:00000000-0000-0000-0000-00000000000a",
        "b_0000.tif": "urn:uuid:00000000-0000-0000-0000-00000000000b",
    }
    planes = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" FirstC="0" FirstT="0" PlaneCount="1"><UUID FileName="{file}">{uuid}</UUID></TiffData>'
        for z, (file, uuid) in enumerate(ids.items())
    )
    pixels = f'DimensionOrder="XYZCT" Type="uint8" SizeX="6" SizeY="5" SizeZ="{len(ids)}" SizeC="1" SizeT="1"'
    for file, uuid in ids.items():
        about = f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">'
        about += f'<Image ID="Image:0"><Pixels ID="Pixels:0" {pixels}>{planes}</Pixels></Image></OME>'
        tifffile.imwrite(tmp_path / file, np.ones((5, 6), np.uint8), description=about, metadata=None)
    with pytest.raises(BadData, match="an OME-TIFF whose image lies in several files"):
        by_name(name).read(tmp_path / "a_0000.tif")


def test_the_reader_of_five_axes_is_the_one_that_reads_them(tmp_path: Path) -> None:
    """ITK reads the header of NIfTI's vectors along a fifth axis, but not what it holds as such."""
    import nibabel

    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((6, 5, 4, 1, 2), np.float32), np.eye(4)), path)
    reader = choose({"file_ending": ".nii.gz"}, path)
    assert reader.name == "NibabelIO"
    assert reader.read(path).data.shape == (2, 4, 5, 6)
