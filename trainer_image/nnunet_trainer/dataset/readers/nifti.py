"""NIfTI by nibabel, axes in SimpleITK's order; with or without turning to the closest canonical orientation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .base import Companion, Header, Image, Reader, integer_type
from .detached import may_name_others, voxel_files
from .whole import check_whole


class NibabelIO(Reader):
    """NIfTI by nibabel: reads files whose header ITK refuses."""

    name = "NibabelIO"
    file_endings: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz")

    def load(self, path: Path, *, label: bool = False) -> Image:
        image = _open(path)
        return _image(image, {"original_affine": image.affine})

    def companions(self, path: Path, *, label: bool = False) -> list[Companion]:
        return voxel_files(path)

    def may_have_companions(self, file_ending: str) -> bool:
        return may_name_others(file_ending)

    def header(self, path: Path) -> Header | None:
        return _header(path)

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import nibabel

        array = integer_type(segmentation.transpose(2, 1, 0))
        nibabel.save(nibabel.Nifti1Image(array, affine=properties["nibabel_stuff"]["original_affine"]), str(path))


class NibabelIOWithReorient(NibabelIO):
    """As NibabelIO, with every image turned to RAS first and segmentations turned back."""

    name = "NibabelIOWithReorient"
    file_endings: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz")

    def load(self, path: Path, *, label: bool = False) -> Image:
        from nibabel.orientations import io_orientation

        image = _open(path)
        turned = image.as_reoriented(io_orientation(image.affine))
        return _image(turned, {"original_affine": image.affine, "reoriented_affine": turned.affine})

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import nibabel
        from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

        geometry = properties["nibabel_stuff"]
        array = integer_type(segmentation.transpose(2, 1, 0))
        image = nibabel.Nifti1Image(array, affine=geometry["reoriented_affine"])
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(geometry["original_affine"]))
        nibabel.save(image.as_reoriented(back), str(path))


def _header(path: Path) -> Header | None:
    """Axes as they stand in the file: turned or not, they hold as many voxels."""
    import nibabel

    try:
        image = nibabel.load(str(path))
        channels = _channels(image)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError):
        return None
    return Header(channels, image.shape[2::-1], _spacing(image))


def _open(path: Path) -> Any:
    import nibabel

    check_whole(path)
    image = nibabel.load(str(path))
    _channels(image)
    return image


def _channels(image: Any) -> int:
    """How many channels a file has: along its fourth axis, its fifth (NIfTI's vectors; the fourth has one place then), or as RGB.

    Raises:
        ValueError: fewer than three axes, or more than one of channels.
    """
    further = image.shape[-1] if image.ndim > 3 else 1
    colours = len(image.get_data_dtype().names or (0,))
    if image.ndim < 3 or math.prod(image.shape[3:]) != further or (colours > 1 and further > 1):
        raise ValueError(f"{image.ndim} dimensions ({'×'.join(map(str, image.shape))}), expected 3 and one of channels")
    return further * colours


def _image(image: Any, affines: dict[str, Any]) -> Image:
    if image.get_data_dtype().names:
        raw = np.asarray(image.dataobj)
        data = np.stack([raw[name].reshape(image.shape[:3]) for name in raw.dtype.names], axis=-1)
    elif image.get_data_dtype().kind == "c":
        raise ValueError(f"voxels of type {image.get_data_dtype()}, expected integers or real numbers")
    else:
        data = image.get_fdata(dtype=np.float64).reshape(*image.shape[:3], -1)
    return Image(data.transpose(3, 2, 1, 0), _spacing(image), {"nibabel_stuff": affines})


def _spacing(image: Any) -> tuple[float, ...]:
    return tuple(float(zoom) for zoom in image.header.get_zooms()[:3][::-1])
