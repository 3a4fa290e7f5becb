"""Every fault of one case, found by the code that reads, preprocesses and exports it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnunet_trainer.contract.command_line import counted
from nnunet_trainer.contract.faults import BadData

from ..description import RGB
from ..raw import Case
from ..readers import Image, Reader, by_name
from ..readers.agreement import grid_differences, placement_differences
from ..readers.base import label_values
from ..readers.gzipped import check_nifti
from ..readers.nifti_header import floating_voxels
from ..readers.packed import check_packed
from ..readers.repairs import odd_pixdims
from ..storage_errors import similar_name
from ..values import rgb_fault, spacing_fault
from .findings import Finding

MAX_VALUES = 8
SPARSE = 997
"""Every such voxel is looked at first: all of them only where these have one value."""
TRIAL = 8
"""Voxels along each axis of the segmentation that is written to see whether it can be."""


@dataclass(slots=True)
class CaseFaults:
    """What was found in a case, and what is only a fault beside what the other cases are.

    Attributes:
        dimensions: of its first image: 2 or 3; 0 where it cannot be read.
        foreground: whether its label has any; None where it cannot be read.
    """

    findings: list[Finding] = field(default_factory=list)
    dimensions: int = 0
    foreground: bool | None = None


def verify_case(
    reader_name: str, name: str, case: Case, channel_names: Sequence[str], allowed: list[int], file_ending: str, folder: Path
) -> CaseFaults:
    """Read all of a case.

    Args:
        reader_name: the dataset's reader.
        name: the case's.
        case: its files.
        channel_names: of dataset.json, in order.
        allowed: the values that a label may hold.
        file_ending: of segmentations that will be written.
        folder: the dataset's, below which files are named.
    """
    return _CaseCheck(by_name(reader_name), name, folder).carry_out(case, channel_names, allowed, file_ending)


class _CaseCheck:
    def __init__(self, reader: Reader, name: str, folder: Path) -> None:
        self.reader, self.name, self.folder, self.found = reader, name, folder, CaseFaults()

    def carry_out(self, case: Case, channel_names: Sequence[str], allowed: list[int], file_ending: str) -> CaseFaults:
        images = [(path, image) for path in case.images if (image := self.read(path)) is not None]
        for path, image in images:
            self.check_values(path, image)
            self.check_contrast(path, image)
            self.compare(images[0], (path, image))
        if len(images) == len(case.images):
            self.check_channels(case.images, [image for _, image in images], channel_names)
        if images:
            path, first = images[0]
            self.found.dimensions = len(first.geometry.get("sitk_stuff", {}).get("spacing", first.spacing))
            if (fault := spacing_fault(first.spacing)) or (fault := self.export_fault(first, max(allowed), file_ending)):
                self.note(path, fault)
        if case.label is None or not case.label.exists():
            expected = self.shown(case.label or self.folder)
            similar = similar_name(case.label) if case.label else ""
            self.note(case.images[0], f"an image without a label; expected {expected}{similar}")
            return self.found
        label = self.read(case.label, label=True)
        if label is not None:
            self.check_values(case.label, label)
            self.check_labels(case.label, label.data, allowed)
            if images:
                self.compare(images[0], (case.label, label))
        return self.found

    def shown(self, path: Path) -> str:
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)

    def note(self, path: Path, message: str, *, fatal: bool = True, kind: str = "") -> None:
        self.found.findings.append(Finding(self.name, self.shown(path), message, fatal, kind))

    def read(self, path: Path, *, label: bool = False) -> Image | None:
        try:
            if path.name.endswith(".nii.gz") and path.is_file() and path.stat().st_size:
                check_nifti(path, thorough=True)
            if path.is_file() and not self.check_companions(path, label):
                return None
            image = self.reader.read(path, label=label)
            check_packed(path)
            if not spacing_fault(image.spacing):
                for axis, value in odd_pixdims(path):
                    self.note(path, f"the pixdim along {axis} is {value:g}; 1 mm is taken", fatal=False, kind="pixdim")
            return image
        except BadData as fault:
            message = fault.message.removeprefix(f"{path}: ").removeprefix(f"{path} ").removesuffix(".")
            self.note(path, message.replace(f"{self.folder}/", ""))
        except ValueError as error:
            self.note(path, str(error))
        return None

    def check_companions(self, path: Path, label: bool) -> bool:
        """Whether all that the image's header names may be read; what only it is missing is a fault of reading."""
        outside = [each for each in self.reader.companions(path, label=label) if not is_within(each.path, path.parent, self.folder)]
        for each in outside:
            self.note(path, f"its {each.holds} are in {each.path}, outside of the dataset's folder; expected a path inside it")
        for each in self.reader.companions(path, label=label):
            if not each.required and not each.path.is_file():
                message = f"there is no {self.shown(each.path)} beside it with its {each.holds}; 1×1×1 is taken"
                self.note(path, message, fatal=False, kind=each.holds)
        return not outside

    def check_values(self, path: Path, image: Image) -> None:
        data = _as_stored(path, image.data)
        if data.dtype.kind != "f" or np.isfinite(data.sum(dtype=np.float64)):
            return
        for what, found in (("NaN", np.isnan(data)), ("infinite", np.isinf(data))):
            count = int(found.sum())
            if count:
                place = ", ".join(str(int(i)) for i in np.argwhere(found)[0][1:])
                self.note(path, f"{count} {'voxel is' if count == 1 else 'voxels are'} {what}, the first at z, y, x = {place}")

    def check_contrast(self, path: Path, image: Image) -> None:
        """An image of one value is hardly meant, unless a modality that is missing was filled in."""
        for number, channel in enumerate(image.data):
            if not channel.size:
                continue
            first = channel.flat[0]
            if (channel.flat[::SPARSE] == first).all() and (channel == first).all():
                which = f" of its channel {number}" if len(image.data) > 1 else ""
                why = "its export was cut off or wrongly masked, or it stands in for a missing modality (then it may stay)"
                self.note(path, f"every voxel{which} is {first:g}: {why}", fatal=False, kind="constant")

    def check_channels(self, paths: Sequence[Path], images: Sequence[Image], names: Sequence[str]) -> None:
        count = sum(len(image.data) for image in images)
        if count != len(names):
            self.note(paths[0], f"{counted(count, 'channel')} in {counted(len(paths), 'file')}, dataset.json names {len(names)}")
            return
        channels = [(path, channel) for path, image in zip(paths, images, strict=True) for channel in image.data]
        for (path, channel), name in zip(channels, names, strict=True):
            if str(name).casefold() == RGB and (fault := rgb_fault(channel)):
                self.note(path, fault)

    def check_labels(self, path: Path, data: np.ndarray, allowed: list[int]) -> None:
        data = label_values(data)
        values = np.unique(data[np.isfinite(data)] if data.dtype.kind == "f" else data)
        self.found.foreground = bool((values > 0).any())
        wrong = [value for value in values if value not in allowed]
        if wrong:
            shown = ", ".join(_exact(value) for value in wrong[:MAX_VALUES]) + (" …" if len(wrong) > MAX_VALUES else "")
            consecutive = len(allowed) > 1 and allowed == list(range(allowed[0], allowed[-1] + 1))
            names = f"{allowed[0]} to {allowed[-1]}" if consecutive else ", ".join(map(str, allowed))
            self.note(path, f"the label holds the value{'s' if len(wrong) > 1 else ''} {shown}, dataset.json names {names}")

    def compare(self, first: tuple[Path, Image], other: tuple[Path, Image]) -> None:
        """Shape and spacing must be the same; origin and direction should be."""
        if first[0] == other[0]:
            return
        shown = self.shown(first[0])
        for difference in grid_differences(first[1], other[1]):
            self.note(other[0], difference.said(shown))
        for difference in placement_differences(first[1], other[1]):
            self.note(other[0], difference.said(shown), fatal=False, kind=difference.what)

    def export_fault(self, image: Image, highest: int, file_ending: str) -> str:
        """Why no segmentation of this image could be written and read again, by writing a tiny one; empty if it can."""
        shape = [min(TRIAL, size) for size in image.data.shape[1:]]
        # The highest label and background in turn: what packs with losses would not keep them apart.
        segmentation = np.where(np.indices(shape).sum(0) % 2, 0, highest).astype(np.uint16)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"segmentation{file_ending}"
            try:
                self.reader.write(segmentation, path, {**image.geometry, "spacing": list(image.spacing)})
                back = self.reader.read(path, label=True)
            except BadData as fault:
                return "no segmentation of it can be written: " + fault.message.replace(f"{folder}/", "").removesuffix(".")
        wanted = Image(segmentation[None], image.spacing, image.geometry)
        if found := grid_differences(wanted, back):
            return f"a segmentation of it that is written as {file_ending} does not come back: {found[0].said('it')}"
        if not np.array_equal(back.data[0], segmentation):
            return f"a segmentation of it that is written as {file_ending} does not come back: its labels are others"
        return ""


def is_within(path: Path, *folders: Path) -> bool:
    """Whether a path lies below one of the folders, by its name alone: where a link leads is not followed."""
    place = Path(os.path.abspath(path))
    return any(place.is_relative_to(os.path.abspath(folder)) for folder in folders)


def _as_stored(path: Path, data: np.ndarray) -> np.ndarray:
    """The voxels as they are in the file, where reading would hide NaN."""
    if data.dtype.kind != "f":
        return data
    stored = floating_voxels(path)
    return data if stored is None else stored


def _exact(value: np.generic) -> str:
    """With as many digits as tell it from any other: 1.0000001 is no 1."""
    return str(value) if value.dtype.kind != "f" else np.format_float_positional(value, trim="-")
