"""2-D photographs and scans: PNG, BMP, TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .base import Header, Image, Reader, integer_type
from .tiff import refuse_several_files

COLOURS = (3, 4)
"""Planes of RGB and RGBA."""


class NaturalImage2DIO(Reader):
    """Grey (1 channel), RGB (3) or RGBA (4) images; no spacing, so that y and x are never resampled against each other."""

    name = "NaturalImage2DIO"
    file_endings: ClassVar[tuple[str, ...]] = (".png", ".bmp", ".tif")

    def load(self, path: Path, *, label: bool = False) -> Image:
        if path.suffix.lower() in (".tif", ".tiff"):
            import tifffile

            with tifffile.TiffFile(path) as file:
                refuse_several_files(file.series[0])
                data = file.asarray()
        else:
            import imageio.v3 as iio

            try:
                data = np.asarray(iio.imread(path))
            except OSError as error:
                if error.errno is None:  # imageio's own, of no system call
                    raise ValueError("no photograph, or a damaged one") from error
                raise
        if data.ndim == 3 and data.shape[-1] not in COLOURS and data.shape[0] in COLOURS:
            data = np.moveaxis(data, 0, -1)  # colour planes one after the other, as skimage's imread takes them
        if data.ndim == 2:
            return Image(data[None, None], (999, 1, 1))
        if data.ndim == 3 and data.shape[-1] in COLOURS:
            return Image(data.transpose(2, 0, 1)[:, None], (999, 1, 1))
        raise ValueError(f"shape {'×'.join(map(str, data.shape))}, expected a grey, RGB or RGBA image (y×x, y×x×3, y×x×4)")

    def header(self, path: Path) -> Header | None:
        if path.suffix.lower() in (".tif", ".tiff"):
            import tifffile

            with tifffile.TiffFile(path) as file:
                shape = tuple(file.series[0].shape)
        else:
            import imageio.v3 as iio

            shape = tuple(iio.improps(path).shape)
        if len(shape) == 3 and shape[-1] not in COLOURS and shape[0] in COLOURS:
            shape = (*shape[1:], shape[0])
        if len(shape) == 2 or (len(shape) == 3 and shape[-1] in COLOURS):
            return Header(shape[2] if len(shape) == 3 else 1, (1, *shape[:2]), (999, 1, 1))
        return None

    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        array = integer_type(segmentation[0])
        if path.suffix.lower() in (".tif", ".tiff"):
            import tifffile

            tifffile.imwrite(path, array)
        else:
            import imageio.v3 as iio

            iio.imwrite(path, array)
