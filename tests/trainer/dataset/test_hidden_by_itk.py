"""What ITK reads without a word: files cut off, and NaN that its library for NIfTI turns into zeros."""

import gzip
import locale
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.dataset.readers.nifti_header import floating_voxels, header_of
from nnunet_trainer.dataset.readers.repairs import read_repaired

VOXELS = np.random.default_rng(5).normal(10, 2, (4, 5, 6)).astype(np.float32)
READER = by_name("SimpleITKIO")


def written(path: Path, data: np.ndarray, *, vector: bool = False) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(data, isVector=vector), str(path))
    return path


@pytest.mark.parametrize("lost", [1, 40], ids=["one byte", "half"])
@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (ending, kind)
        for ending in (".vtk", ".gipl", ".nii", ".nrrd", ".mha")
        for kind in ("uint8", "int16", "int32", "float32", "float64")
        if (ending, kind) != (".gipl", "int32")  # ITK cannot write it
    ],
)
def test_cut_off(tmp_path: Path, ending: str, kind: str, lost: int) -> None:
    file = written(tmp_path / f"a{ending}", VOXELS.astype(kind))
    assert READER.read(file).data.shape == (1, 4, 5, 6)
    content = file.read_bytes()
    file.write_bytes(content[:-lost])
    with pytest.raises(BadData, match=rf"a{ending}: .*"):
        READER.read(file)


@pytest.mark.parametrize("components", [2, 3, 4])
def test_cut_off_vtk_of_several_components(tmp_path: Path, components: int) -> None:
    file = written(tmp_path / "a.vtk", np.stack([VOXELS] * components, -1), vector=True)
    assert READER.read(file).data.shape == (components, 4, 5, 6)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadData, match=r"a\.vtk: .*truncated: \d+ bytes of voxels, its header promises \d+"):
        READER.read(file)


@pytest.mark.parametrize("ending", [".vtk", ".gipl", ".nii.gz", ".nrrd", ".mha"])
def test_the_locale_stays(tmp_path: Path, ending: str) -> None:
    file = written(tmp_path / f"a{ending}", VOXELS)
    before = locale.setlocale(locale.LC_ALL)
    READER.header(file)
    READER.read(file)
    assert locale.setlocale(locale.LC_ALL) == before


def test_cut_off_vtk_of_text(tmp_path: Path) -> None:
    numbers = [f"{value:g}" for value in range(24)]
    head = "# vtk DataFile Version 3.0\nlines\nASCII\nDATASET STRUCTURED_POINTS\nDIMENSIONS 4 3 2\nSPACING 1 1 1\nORIGIN 0 0 0\n"
    head += "POINT_DATA 24\nSCALARS scalars float 1\nLOOKUP_TABLE default\n"
    file = tmp_path / "a.vtk"
    file.write_text(head + "\n".join(numbers) + "\n")
    assert READER.read(file).data.ravel().tolist() == list(range(24))
    file.write_text(head + "\n".join(numbers[:-3]) + "\n")
    with pytest.raises(BadData, match=r"truncated: 21 values of voxels, its header promises 24"):
        READER.read(file)


def as_nifti(path: Path, data: np.ndarray) -> Path:
    """In any of NIfTI's shapes; returns the file that a case has."""
    x_first = data.T
    kinds = {
        ".2.nii": nibabel.Nifti2Image,
        ".2.nii.gz": nibabel.Nifti2Image,
        ".img": nibabel.Nifti1Pair,
        ".hdr": nibabel.Nifti1Pair,
    }
    ending = next(ending for ending in (".2.nii.gz", ".2.nii", ".nii.gz", ".nii", ".img", ".hdr") if path.name.endswith(ending))
    kind = kinds.get(ending, nibabel.Nifti1Image)
    nibabel.save(kind(x_first, np.eye(4)), str(path))
    return path


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".2.nii", ".2.nii.gz", ".img", ".hdr"])
def test_no_number(tmp_path: Path, ending: str, bad: float) -> None:
    data = VOXELS.copy()
    data[1, 2, 3] = bad
    file = as_nifti(tmp_path / f"a{ending}", data)
    stored = floating_voxels(file)
    assert stored is not None
    np.testing.assert_array_equal(stored, data[None])
    reader = by_name("NibabelIO") if ".2." in ending else READER  # ITK does not read NIfTI-2
    _, _, notes = read_repaired(reader, [file])
    assert notes == [f"{file}: 1 voxel is NaN or infinite; taken as 0."]


def test_no_number_in_two_dimensions(tmp_path: Path) -> None:
    data = VOXELS[0].copy()
    data[2, 3] = np.nan
    stored = floating_voxels(as_nifti(tmp_path / "a.nii.gz", data))
    assert stored is not None
    np.testing.assert_array_equal(stored, data[None, None])


@pytest.mark.parametrize("order", "<>")
def test_byte_order(tmp_path: Path, order: str) -> None:
    data = VOXELS.astype(f"{order}f8")
    file = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(data.T, np.eye(4), nibabel.Nifti1Header(endianness=order), dtype=np.float64), str(file))
    header = header_of(file)
    assert header is not None
    assert (header.order, header.sizes, header.promised) == (order, (6, 5, 4), 352 + data.nbytes)
    np.testing.assert_array_equal(floating_voxels(file), data[None])


@pytest.mark.parametrize(
    "content", [b"", b"no image", b"\x1f\x8b broken", gzip.compress(b"short")], ids=["empty", "text", "gzip", "short"]
)
def test_no_header(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.nii.gz"
    file.write_bytes(content)
    assert header_of(file) is None
    assert floating_voxels(file) is None
