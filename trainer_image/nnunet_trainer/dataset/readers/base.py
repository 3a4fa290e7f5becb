"""What every image reader does: arrays of shape (channel, z, y, x), spacings (z, y, x), and geometry to write back."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nnunet_trainer.contract.faults import BadData, StorageFault
from nnunet_trainer.contract.uri import is_utf8, printable
from nnunet_trainer.extensions import slow_calls

from ..storage_errors import absence, require_storage
from .agreement import grid_differences
from .image import Companion, Header, Image

__all__ = ["Companion", "Header", "Image", "Reader", "integer_type", "label_values"]


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

    def companions(self, path: Path, *, label: bool = False) -> list[Companion]:
        """The files that reading an image takes beside it, whether they exist or not; none for most formats.

        What reads, copies, stages, or takes the digest of an image does so with its companions.

        Args:
            path: the image, which is there: its header may have to be read.
            label: it is a label, whose name bears no channel.

        Raises:
            BadData: the image's header cannot be understood.
        """
        return []

    def may_have_companions(self, file_ending: str) -> bool:
        """Whether images of an ending may have companions at all."""
        return False

    def header(self, path: Path) -> Header | None:
        """Channels, shape and spacing without reading the voxels; None where that is not possible."""
        return None

    def channels(self, path: Path) -> int:
        """How many channels a file has, from its header where that tells.

        Raises:
            BadData: the file cannot be read.
        """
        self.require(path, label=False)
        try:
            found = self.header(path)
        except Exception:  # reading says what is wrong with it
            found = None
        return len(self.read(path).data) if found is None else found.channels

    def read(self, path: Path, *, label: bool = False) -> Image:
        """Read one file.

        Raises:
            BadData: missing, truncated, or not what this reader reads; a companion is missing; a label with several channels; the
                message says which.
            StorageFault: the file's storage does not answer.
        """
        self.require(path, label=label)
        try:
            with slow_calls.watched(f"Reading {path} by {self.name}", type(self).load):
                image = self.load(path, label=label)
        except BadData:
            raise
        except MemoryError:
            raise
        except Exception as error:
            for file in (path, *(companion.path for companion in self.companions(path, label=label))):
                require_storage(file)
            raise BadData("InvalidCases", f"{path}: cannot be read by {self.name}: {_short(error)}{self._others(path)}.") from error
        if image.data.dtype.kind not in "biuf":
            raise BadData("InvalidCases", f"{path}: its voxels are of type {image.data.dtype}; expected integers or real numbers.")
        if label and len(image.data) != 1:
            raise BadData("InvalidCases", f"{path}: one channel expected in a label, {len(image.data)} found.")
        return image

    def probe(self, path: Path) -> None:
        """Raise BadData where `read` would. Readers override it when the header tells."""
        self.read(path)

    def read_images(self, files: Sequence[Path]) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the channels of a case; a file may hold several.

        Returns:
            float32 (channels, z, y, x), and properties: `spacing` and the first file's geometry.

        Raises:
            BadData: a file that cannot be read, or files of different shape or spacing.
        """
        images = [self.read(Path(file)) for file in files]
        first = images[0]
        for file, image in zip(files[1:], images[1:], strict=True):
            for difference in grid_differences(first, image):
                raise BadData("InvalidCases", f"{file}: {difference.said(files[0])}.")
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
        return label_values(self.read(Path(path), label=True).data)

    def write(self, segmentation: np.ndarray, path: Path, properties: dict[str, Any]) -> list[Path]:
        """`write_seg` at once or not at all, with all that belongs to the file.

        Returns:
            the files written, the segmentation's own last.

        Raises:
            BadData: no file of this ending can hold the segmentation with that geometry.
            StorageFault: the folder cannot be written to.
        """
        # Hidden while it is written; the name stays, because formats of several files name one another.
        beside = path.parent / f".{os.getpid()}.{path.name}.partial"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            beside.mkdir(parents=True)
            with slow_calls.watched(f"Writing {path} by {self.name}", type(self).write_seg):
                self.write_seg(segmentation, beside / path.name, properties)
            written = sorted(beside.iterdir(), key=lambda file: (file.name == path.name, file.name))
            for file in written:
                os.replace(file, path.parent / file.name)
            return [path.parent / file.name for file in written]
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            if fault := _cannot_store(path.parent, segmentation.nbytes):
                raise StorageFault("CannotWrite", f"{path} cannot be written: {fault}.") from error
            raise BadData("InvalidCases", f"{path} cannot be written by {self.name}: {_short(error)}.") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def is_whole(self, path: Path) -> bool:
        """Whether a segmentation exists with the files that it cannot be read without."""
        try:
            self.require(path, label=True)
        except BadData:
            return False
        return True

    def copy_label(self, label: Path, target: Path) -> list[Path]:
        """Copy a label under another name, with its companions.

        Returns:
            the files written, the label's own last.

        Raises:
            BadData: the label cannot be read.
            OSError: something cannot be copied.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        there = [each for each in self.companions(label, label=True) if each.required or each.path.is_file()]
        if any(each.required for each in there):
            # Its header names the others: they are written anew, under the new name.
            segmentation, properties = self.read_seg(label)
            return self.write(segmentation[0], target, properties)
        names = [each.path.name for each in self.companions(target, label=True)] if there else []
        pairs = [*((each.path, target.with_name(name)) for each, name in zip(there, names, strict=False)), (label, target)]
        for source, copied in pairs:
            beside = copied.with_name(f".partial-{os.getpid()}-{copied.name}")
            try:
                shutil.copy2(source, beside)
                os.replace(beside, copied)
            finally:
                beside.unlink(missing_ok=True)
        return [copied for _, copied in pairs]

    def _others(self, path: Path) -> str:
        """What a file that cannot be read would have to be, where its name tells that it is another; empty otherwise."""
        if path.name.lower().endswith(self.file_endings):
            return ""
        return f" (it reads {', '.join(self.file_endings)}; dataset.json's overwrite_image_reader_writer chooses another reader)"

    def require(self, path: Path, *, label: bool = False) -> None:
        """Raise BadData unless a file and the companions that it cannot be read without exist."""
        if not is_utf8(str(path)):  # ITK ends the whole process
            raise BadData("InvalidCases", f"{printable(str(path))}: its name is not UTF-8.", hint="Rename it.")
        if not path.is_file():
            require_storage(path)
            raise BadData("InvalidCases", f"{path} {absence(path)}.")
        if not path.stat().st_size:
            raise BadData("InvalidCases", f"{path} is empty: it has 0 bytes.")
        for companion in self.companions(path, label=label):
            if not is_utf8(str(companion.path)):
                raise BadData(
                    "InvalidCases", f"{path}: {printable(str(companion.path))}, which holds its {companion.holds}: not UTF-8."
                )
            if companion.required and not companion.path.is_file():
                require_storage(companion.path)
                raise BadData("InvalidCases", f"{path}: {companion.path}, which holds its {companion.holds}, does not exist.")


def label_values(data: np.ndarray) -> np.ndarray:
    """A label's voxels as they are worked with: integers as they are, floating point as float32, which takes 1.0000000036 for 1."""
    return data.astype(np.float32, copy=False) if data.dtype.kind == "f" else data


def integer_type(segmentation: np.ndarray) -> np.ndarray:
    """A segmentation in the smallest type that nnU-Net writes: uint8, or uint16 from the value 255 on."""
    return segmentation.astype(np.uint8 if segmentation.max(initial=0) < 255 else np.uint16, copy=False)


def _cannot_store(folder: Path, size: int) -> str:
    """Why a folder does not take a file of this size; empty when it does."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for start in range(0, size, 1 << 20):
                file.write(bytes(min(1 << 20, size - start)))
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any("MetaImageIO" in line for line in lines) and lines[-1].startswith("Reason: "):
        return "damaged, or shorter than its header promises"  # the reason is a left-over of an earlier call
    start = next((place for place, line in enumerate(lines) if line.startswith("ITK ERROR: ")), None)
    if start is not None and re.fullmatch(r"[-+.e\d ]+", lines[-1]):  # of a matrix, whose rows have lines of their own
        return re.sub(r"\(0x[0-9a-f]+\)", "", " ".join(lines[start:]))[:300]
    return (lines[-1] if lines else type(error).__name__).removesuffix(".")[:300]
