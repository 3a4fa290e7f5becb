"""The Medical Segmentation Decathlon's layout, converted to nnU-Net's as nnUNetv2_convert_MSD_dataset does it.

There an image is one file with its channels as the fourth axis, labels are {"1": "name"}, and dataset.json lists the cases.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.faults import BadData
from ..dataset import msd_description, splits
from ..dataset.msd_description import ENDING, Entry
from ..dataset.readers.gzipped import check_nifti
from ..dataset.readers.nifti_header import MAGIC, floating_voxels


def convert(folder: Path, target: Path, cases: Collection[str] | None = None) -> Path:
    """Write a dataset in nnU-Net's layout; images of three axes and labels are linked, not copied.

    Args:
        folder: MSD's TaskXX_Name.
        target: where to; what is there already stays.
        cases: convert only these; all if None.

    Raises:
        BadData: dataset.json is not the Decathlon's, files are missing, an image cannot be read or has other channels.
    """
    described = msd_description.read(folder / "dataset.json")
    chosen = [entry for entry in msd_description.entries(described) if cases is None or entry.case in cases]
    check_files(chosen, _there(folder, chosen))
    for name in ("imagesTr", "labelsTr"):
        (target / name).mkdir(parents=True, exist_ok=True)
    channels = len(described["modality"])
    left = [entry for entry in chosen if not all(path.exists() for path in _images(entry, target, channels))]
    split = {entry.case: _is_split(folder / entry.image, channels) for entry in left}
    _refuse(len(chosen), [(case, found) for case, found in split.items() if isinstance(found, str)])
    findings = []
    for entry in left:
        images = _images(entry, target, channels)
        if not split[entry.case]:
            _link(folder / entry.image, images[0])
        elif fault := _split(folder / entry.image, images):
            findings.append((entry.case, fault))
    _refuse(len(chosen), findings)
    for entry in chosen:
        _link(folder / entry.label, target / "labelsTr" / f"{entry.case}{ENDING}")
    if (folder / splits.FILE).is_file():
        shutil.copyfile(folder / splits.FILE, target / splits.FILE)
    (target / "dataset.json").write_text(json.dumps(msd_description.converted(described), indent=4))
    return target


def check_files(entries: Collection[Entry], there: Collection[str]) -> None:
    """Refuse cases whose files are not there, all of them named.

    Args:
        entries: the cases.
        there: paths of all files.

    Raises:
        BadData: files are missing.
    """
    _refuse(len(entries), msd_description.missing(entries, there))


def _refuse(cases: int, findings: Collection[tuple[str, str]]) -> None:
    if findings:
        faulty = len({case for case, _ in findings})
        lines = [f"{case}: {line}" for case, line in findings]
        count = f"{faulty} of {cases} {'case' if cases == 1 else 'cases'} cannot be trained on"
        raise BadData("InvalidCases", count, findings=lines, hint="Repair the files or dataset.json.")


def _there(folder: Path, entries: Iterable[Entry]) -> set[str]:
    paths = {path for entry in entries for path in (entry.image, entry.label)}
    return {path for path in paths if (folder / path).is_file()}


def _images(entry: Entry, target: Path, channels: int) -> list[Path]:
    return [target / "imagesTr" / f"{entry.case}_{channel:04d}{ENDING}" for channel in range(channels)]


def _is_split(image: Path, channels: int) -> bool | str:
    """Whether an image has its channels as the fourth axis; or what is wrong with it."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(image))
    try:
        check_nifti(image, thorough=channels > 1)  # the files that it is split into would be whole
        reader.ReadImageInformation()
    except (RuntimeError, ValueError) as error:
        return f"{image} cannot be read: {str(error).splitlines()[-1]}"
    size = reader.GetSize()
    if len(size) not in (3, 4):
        return f"{image} has {len(size)} axes, expected three, and the channels as the fourth"
    if reader.GetNumberOfComponents() != 1:
        return f"{image} has {reader.GetNumberOfComponents()} values a voxel, expected one, and the channels as the fourth axis"
    found = size[3] if len(size) == 4 else 1
    if found != channels:
        count = "1 channel" if found == 1 else f"{found} channels"
        return f"{image} has {count}, field modality of dataset.json names {channels}"
    return len(size) == 4


def _split(image: Path, targets: list[Path]) -> str:
    """Write each channel to a file of its own. Returns what is wrong with the image, "" if nothing."""
    import SimpleITK as sitk

    stored = floating_voxels(image)
    if stored is not None and (count := stored.size - int(np.isfinite(stored).sum())):
        # ITK would make zeros of them, and verifying the split files would find none.
        first = ", ".join(str(int(i)) for i in np.argwhere(~np.isfinite(stored))[0])
        number = f"{count} {'voxel is' if count == 1 else 'voxels are'} NaN or infinite"
        return f"{image}: {number}, the first at channel, z, y, x = {first}"
    try:
        whole = sitk.ReadImage(str(image))
        direction = [d for row in range(3) for d in whole.GetDirection()[4 * row : 4 * row + 3]]
        arrays: Any = sitk.GetArrayFromImage(whole)  # (channel, z, y, x)
        for array, target in zip(arrays, targets, strict=True):
            channel = sitk.GetImageFromArray(array)
            channel.SetSpacing(whole.GetSpacing()[:3])
            channel.SetOrigin(whole.GetOrigin()[:3])
            channel.SetDirection(direction)
            beside = target.with_name(f".partial-{target.name}")
            sitk.WriteImage(channel, str(beside))
            os.replace(beside, target)
    except RuntimeError as error:
        return f"{image} cannot be read: {str(error).splitlines()[-1]}"
    return ""


def _link(source: Path, target: Path) -> None:
    """The file under its new name, which promises gzip: what is none is compressed."""
    if target.exists():
        return
    with open(source, "rb") as file:
        packed = file.read(len(MAGIC)) == MAGIC
        if packed:
            try:
                os.symlink(source.resolve(), target)
                return
            except OSError:
                pass  # a file system without links
        file.seek(0)
        beside = target.with_name(f".partial-{target.name}")
        with open(beside, "wb") as copy:
            if packed:
                shutil.copyfileobj(file, copy)
            else:  # the same bytes each time: no name and no date in them
                with gzip.GzipFile("", "wb", compresslevel=1, fileobj=copy, mtime=0) as compressed:
                    shutil.copyfileobj(file, compressed)
    os.replace(beside, target)
