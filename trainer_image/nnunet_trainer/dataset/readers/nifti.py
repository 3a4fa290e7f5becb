"""NIfTI by nibabel, axes in SimpleITK's order; with or without turning to the closest canonical orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .base import Image, Reader, integer_type
from .gzipped import check_nifti


class NibabelIO(Reader):
    """3-D NIfTI by nibabel: reads files whose header ITK refuses."""

    name = "NibabelIO"
    file_endings: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz")

    def load(self, path: Path, *, label: bool = False) -> Image:
        image = _open(path)
        return _image(image, {"original_affine": image.affine})

    def header(self, path: Path) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
        return _header(path)

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import nibabel

        array = integer_type(segmentation.transpose(2, 1, 0))
        nibabel.save(nibabel.Nifti1Image(array, affine=properties["nibabel_stuff"]["original_affine"]), str(path))


class NibabelIOWithReorient(Reader):
    """As NibabelIO, with every image turned to RAS first and segmentations turned back."""

    name = "NibabelIOWithReorient"
    file_endings: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz")

    def load(self, path: Path, *, label: bool = False) -> Image:
        from nibabel.orientations import io_orientation

        image = _open(path)
        turned = image.as_reoriented(io_orientation(image.affine))
        return _image(turned, {"original_affine": image.affine, "reoriented_affine": turned.affine})

    def header(self, path: Path) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
        return _header(path)

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import nibabel
        from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

        geometry = properties["nibabel_stuff"]
        array = integer_type(segmentation.transpose(2, 1, 0))
        image = nibabel.Nifti1Image(array, affine=geometry["reoriented_affine"])
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(geometry["original_affine"]))
        nibabel.save(image.as_reoriented(back), str(path))


def _header(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    """Axes as they stand in the file: turned or not, they hold as many voxels."""
    import nibabel

    try:
        image = nibabel.load(str(path))
    except (OSError, nibabel.filebasedimages.ImageFileError):
        return None
    return (1, *image.shape[::-1][:3]), tuple(float(zoom) for zoom in image.header.get_zooms()[::-1][:3])


def _open(path: Path) -> Any:
    import nibabel

    if path.name.endswith(".nii.gz"):
        check_nifti(path)
    image = nibabel.load(str(path))
    if image.ndim != 3:
        raise ValueError(f"{image.ndim} dimensions, expected 3")
    return image


def _image(image: Any, affines: dict[str, Any]) -> Image:
    data = image.get_fdata(dtype=np.float64).transpose(2, 1, 0)[None]
    spacing = tuple(float(zoom) for zoom in image.header.get_zooms()[::-1])
    return Image(data, spacing, {"nibabel_stuff": affines})
