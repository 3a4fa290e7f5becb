"""SimpleITK's formats: NIfTI, NRRD, MetaImage, GIPL."""

from __future__ import annotations

import contextlib
import locale
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .base import Companion, Header, Image, Reader, integer_type
from .detached import may_name_others, voxel_files
from .whole import check_whole


class SimpleITKIO(Reader):
    """Images by SimpleITK; nnU-Net's default for NIfTI."""

    name = "SimpleITKIO"
    file_endings: ClassVar[tuple[str, ...]] = (".nii.gz", ".nrrd", ".mha", ".gipl")

    def load(self, path: Path, *, label: bool = False) -> Image:
        return self._image(*_spatial(self._open(path)))

    def companions(self, path: Path, *, label: bool = False) -> list[Companion]:
        return voxel_files(path)

    def may_have_companions(self, file_ending: str) -> bool:
        return may_name_others(file_ending)

    def probe(self, path: Path) -> None:
        # What ITK or we refuse (a direction matrix that is not orthonormal, above all) stands in the header.
        if self.header(path) is None:
            self.read(path)

    def header(self, path: Path) -> Header | None:
        import SimpleITK as sitk

        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            with _same_locale():
                reader.ReadImageInformation()
        except RuntimeError:
            return None
        size, spacing = reader.GetSize(), reader.GetSpacing()
        if not _is_supported(len(size), reader.GetNumberOfComponents()):
            return None
        repeated = size[3] if len(size) == 4 else 1
        shape = (*size[:3][::-1],) if len(size) > 2 else (1, *size[::-1])
        return Header(repeated * reader.GetNumberOfComponents(), shape, _spacing(spacing[:3]))

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import SimpleITK as sitk

        sitk.WriteImage(self._with_geometry(segmentation, properties["sitk_stuff"]), str(path), True)

    def _open(self, path: Path) -> Any:
        import SimpleITK as sitk

        check_whole(path)
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        with _same_locale():
            return sitk.ReadImage(str(path))

    def _image(self, data: np.ndarray, geometry: dict[str, Any]) -> Image:
        """From (channels, z, y, x), or (channels, y, x) of a 2-D image."""
        if data.ndim == 3:
            data = data[:, None]
        return Image(data, _spacing(geometry["spacing"]), {"sitk_stuff": geometry})

    def _with_geometry(self, segmentation: np.ndarray, geometry: dict[str, Any]) -> Any:
        geometry = spatial_geometry(geometry)
        array = integer_type(segmentation)
        return _placed(array[0] if len(geometry["spacing"]) == 2 else array, geometry)


class SimpleITKIOWithReorient(SimpleITKIO):
    """As SimpleITKIO, with every image turned to RAS first and segmentations turned back."""

    name = "SimpleITKIOWithReorient"
    automatic = False
    orientation = "RAS"

    def load(self, path: Path, *, label: bool = False) -> Image:
        import SimpleITK as sitk

        data, geometry = _spatial(self._open(path))
        original = sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(geometry["direction"])
        # ITK turns volumes alone, so several channels are turned one by one.
        turned = [sitk.DICOMOrient(_placed(channel, geometry), self.orientation) for channel in data]
        arrays = [sitk.GetArrayFromImage(image) for image in turned]
        read = self._image(arrays[0][None] if len(arrays) == 1 else np.stack(arrays), _geometry(turned[0]))
        read.geometry["sitk_stuff"]["original_orientation"] = original
        return read

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import SimpleITK as sitk

        geometry = properties["sitk_stuff"]
        image = sitk.DICOMOrient(self._with_geometry(segmentation, geometry), geometry["original_orientation"])
        sitk.WriteImage(image, str(path), True)


@contextlib.contextmanager
def _same_locale() -> Iterator[None]:
    """Undoes what ITK's reader of VTK files does: it leaves the process in the locale "C", in which open() knows ASCII alone."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        if locale.setlocale(locale.LC_ALL) != before:
            locale.setlocale(locale.LC_ALL, before)


def spatial_geometry(geometry: dict[str, Any]) -> dict[str, Any]:
    """Spacing, origin and direction of the first three axes: what has four has its channels there."""
    rank = len(geometry["spacing"])
    if rank <= 3:
        return geometry
    direction = np.reshape(geometry["direction"], (rank, rank))[:3, :3]
    spatial = {"spacing": geometry["spacing"][:3], "origin": geometry["origin"][:3], "direction": tuple(direction.ravel().tolist())}
    return {**geometry, **spatial}


def _spatial(image: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Voxels (channels, z, y, x), or (channels, y, x) in 2-D, and the spatial geometry.

    Channels are the fourth axis (4-D NIfTI, as nnU-Net reads it) or the components of a voxel (RGB, ITK's vector images).
    """
    import SimpleITK as sitk

    rank, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if not _is_supported(rank, components):
        more = f" of {components} components a voxel" if components > 1 else ""
        raise ValueError(f"{rank} dimensions{more}, expected 2 or 3 and one of channels")
    # A view would outlive the image; the copy that the caller makes of a view costs no more than this one.
    data = sitk.GetArrayFromImage(image)
    if components > 1:
        data = np.moveaxis(data, -1, 0)
    elif rank < 4:
        data = data[None]
    return data, spatial_geometry(_geometry(image))


def _is_supported(rank: int, components: int) -> bool:
    """Channels are the fourth axis or the components of a voxel, not both."""
    return rank in (2, 3) or (rank == 4 and components == 1)


def _geometry(image: Any) -> dict[str, Any]:
    return {"spacing": image.GetSpacing(), "origin": image.GetOrigin(), "direction": image.GetDirection()}


def _placed(array: np.ndarray, geometry: dict[str, Any]) -> Any:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry["spacing"])
    image.SetOrigin(geometry["origin"])
    image.SetDirection(geometry["direction"])
    return image


def _spacing(xyz: Sequence[float]) -> tuple[float, ...]:
    """Along z, y, x; a 2-D image has a large value for z."""
    reverse = tuple(abs(float(s)) for s in xyz[::-1])
    return reverse if len(reverse) == 3 else (abs(max(xyz) * 999), *reverse)
