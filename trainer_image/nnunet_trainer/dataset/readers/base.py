"""What every image reader does: arrays of shape (channel, z, y, x), spacings (z, y, x), and geometry to write back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.contract.uri import is_utf8, printable


@dataclass(slots=True)
class Image:
    """One image file.

    Attributes:
        data: (channels, z, y, x) in the file's own type; 2-D images have one slice.
        spacing: millimetres along z, y, x; a 2-D image has a large value for z, so that it is never resampled there.
        geometry: what the file says about its place in space, by nnU-Net's names (`sitk_stuff`, `nibabel_stuff`).
    """

    data: np.ndarray
    spacing: tuple[float, ...]
    geometry: dict[str, Any] = field(default_factory=dict)


class Reader(ABC):
    """Reads and writes one family of formats. Instances hold no state."""

    name: ClassVar[str]
    file_endings: ClassVar[tuple[str, ...]]
    automatic: ClassVar[bool] = True  # chosen by file ending; otherwise only when dataset.json names it

    @abstractmethod
    def load(self, path: Path, *, label: bool = False) -> Image:
        """Read one file; any exception means that it cannot be read."""

    @abstractmethod
    def write_seg(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
        """Write a segmentation (z, y, x) with the geometry that reading the image gave."""

    def read(self, path: Path, *, label: bool = False) -> Image:
        """Read one file.

        Raises:
            BadData: missing, truncated, or not what this reader reads; the message says which.
        """
        if not is_utf8(str(path)):  # ITK ends the whole process
            raise BadData("InvalidCases", f"{printable(str(path))}: its name is not UTF-8.", hint="Rename it.")
        if not path.is_file():
            raise BadData("InvalidCases", f"{path} does not exist.")
        try:
            return self.load(path, label=label)
        except BadData:
            raise
        except MemoryError:
            raise
        except Exception as error:
            raise BadData("InvalidCases", f"{path}: cannot be read by {self.name}: {_short(error)}.") from error

    def probe(self, path: Path) -> None:
        """Raise BadData where `read` would. Readers override it when the header tells."""
        self.read(path)

    def header(self, path: Path) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
        """Shape (channels, z, y, x) and spacing without reading the voxels; None where that is not possible."""
        return None

    def read_images(self, files: Sequence[Path]) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the channels of a case.

        Returns:
            float32 (channels, z, y, x), and properties: `spacing` and the first file's geometry.

        Raises:
            BadData: a file that cannot be read, or channels of different shape or spacing.
        """
        images = [self.read(Path(file)) for file in files]
        first = images[0]
        for file, image in zip(files, images, strict=True):
            if image.data.shape != first.data.shape:
                # The channels of a file are shown where they are what differs.
                shown = slice(1 if image.data.shape[1:] != first.data.shape[1:] else 0, None)
                a, b = "×".join(map(str, image.data.shape[shown])), "×".join(map(str, first.data.shape[shown]))
                raise BadData("InvalidCases", f"{file}: shape {a}, but {files[0]} has {b}.")
            if list(image.spacing) != list(first.spacing):
                raise BadData("InvalidCases", f"{file}: spacing {image.spacing}, but {files[0]} has {first.spacing}.")
        data = np.empty((sum(len(image.data) for image in images), *first.data.shape[1:]), np.float32)
        start = 0
        for image in images:
            data[start : start + len(image.data)] = image.data
            start += len(image.data)
        return data, {**first.geometry, "spacing": list(first.spacing)}

    def read_seg(self, path: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """Read a label file: float32 (1, z, y, x) and its properties."""
        image = self.read(Path(path), label=True)
        return image.data.astype(np.float32), {**image.geometry, "spacing": list(image.spacing)}

    def read_label(self, path: Path) -> np.ndarray:
        """The same voxels (1, z, y, x) in the file's own integers; floating point as float32."""
        data = self.read(Path(path), label=True).data
        return data.astype(np.float32, copy=False) if data.dtype.kind == "f" else data


def integer_type(segmentation: np.ndarray) -> np.ndarray:
    """A segmentation in the smallest type that nnU-Net writes: uint8, or uint16 from the value 255 on."""
    return segmentation.astype(np.uint8 if segmentation.max(initial=0) < 255 else np.uint16, copy=False)


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).removesuffix(".")[:300]
