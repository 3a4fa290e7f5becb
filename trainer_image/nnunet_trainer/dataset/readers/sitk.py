"""SimpleITK's formats: NIfTI, NRRD, MetaImage, GIPL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .base import Image, Reader, integer_type
from .gzipped import check_nifti


class SimpleITKIO(Reader):
    """Images by SimpleITK; nnU-Net's default for NIfTI."""

    name = "SimpleITKIO"
    file_endings: ClassVar[tuple[str, ...]] = (".nii.gz", ".nrrd", ".mha", ".gipl")

    def load(self, path: Path, *, label: bool = False) -> Image:
        return self._image(self._open(path))

    def probe(self, path: Path) -> None:
        # What ITK refuses (a direction matrix that is not orthonormal, above all) stands in the header.
        try:
            import SimpleITK as sitk

            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
        except RuntimeError:
            self.read(path)

    def header(self, path: Path) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
        import SimpleITK as sitk

        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            return None
        size, spacing = reader.GetSize()[::-1], reader.GetSpacing()[::-1]
        if len(size) == 2:
            return (1, 1, *size), (abs(max(spacing) * 999), *map(abs, spacing))
        if len(size) == 3:
            return (1, *size), tuple(map(abs, spacing))
        return tuple(size), tuple(map(abs, spacing[1:]))

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import SimpleITK as sitk

        sitk.WriteImage(self._with_geometry(segmentation, properties["sitk_stuff"]), str(path), True)

    def _open(self, path: Path) -> Any:
        import SimpleITK as sitk

        if path.name.endswith(".nii.gz"):
            check_nifti(path)
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        return sitk.ReadImage(str(path))

    def _image(self, image: Any) -> Image:
        import SimpleITK as sitk

        spacing = image.GetSpacing()
        geometry = {"spacing": spacing, "origin": image.GetOrigin(), "direction": image.GetDirection()}
        # A view would outlive the image; the copy that the caller makes of a view costs no more than this one.
        data = sitk.GetArrayFromImage(image)
        reverse = [abs(float(s)) for s in spacing[::-1]]
        if data.ndim == 2:
            return Image(data[None, None], (abs(max(spacing) * 999), *reverse), {"sitk_stuff": geometry})
        if data.ndim == 3:
            return Image(data[None], tuple(reverse), {"sitk_stuff": geometry})
        if data.ndim == 4:
            return Image(data, tuple(reverse[1:]), {"sitk_stuff": geometry})
        raise ValueError(f"{data.ndim} dimensions, expected 2, 3 or 4")

    def _with_geometry(self, segmentation: np.ndarray, geometry: dict[str, Any]) -> Any:
        import SimpleITK as sitk

        array = integer_type(segmentation)
        image = sitk.GetImageFromArray(array[0] if len(geometry["spacing"]) == 2 else array)
        image.SetSpacing(geometry["spacing"])
        image.SetOrigin(geometry["origin"])
        image.SetDirection(geometry["direction"])
        return image


class SimpleITKIOWithReorient(SimpleITKIO):
    """As SimpleITKIO, with every image turned to RAS first and segmentations turned back."""

    name = "SimpleITKIOWithReorient"
    automatic = False
    orientation = "RAS"

    def load(self, path: Path, *, label: bool = False) -> Image:
        import SimpleITK as sitk

        image = self._open(path)
        original = sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(image.GetDirection())
        read = self._image(sitk.DICOMOrient(image, self.orientation))
        read.geometry["sitk_stuff"]["original_orientation"] = original
        return read

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        import SimpleITK as sitk

        geometry = properties["sitk_stuff"]
        image = sitk.DICOMOrient(self._with_geometry(segmentation, geometry), geometry["original_orientation"])
        sitk.WriteImage(image, str(path), True)
