"""Every fault of a raw dataset at once."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadData

from . import description, parallel, splits
from .labels import LabelManager
from .memory import PROCESS, reading_estimate
from .raw import Case, RawDataset
from .readers import Reader, by_name
from .readers.base import Image

MAX_VALUES = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `fatal` is False for what nnU-Net only warns of (another origin or direction)."""

    case: str
    file: str
    message: str
    fatal: bool = True

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.case, self.file) if part)
        return f"{'' if self.fatal else 'warning: '}{where + ': ' if where else ''}{self.message}"

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


def verify(folder: str | os.PathLike[str], workers: int | None = None) -> list[Finding]:
    """Check a dataset folder: dataset.json, the files, and every image and label in them.

    Args:
        folder: a dataset in nnU-Net v2's raw layout.
        workers: processes; the container's cores when None.

    Returns:
        all findings; with a dataset.json that cannot be worked with, those of dataset.json alone.
    """
    path = Path(folder)
    if not path.is_dir():
        return [Finding("", str(path), "is no folder; expected a dataset in nnU-Net's raw layout")]
    try:
        dataset_json = description.read_json(path / "dataset.json")
    except BadData as fault:
        return [Finding("", "dataset.json", _without_path(fault.message, path / "dataset.json"))]
    faults = description.faults(dataset_json)
    if faults:
        return [Finding("", "dataset.json", fault) for fault in faults]
    raw = RawDataset(path, dataset_json)
    findings = [*_files(raw), *_splits(raw)]
    if not raw.cases:
        return findings
    try:
        reader = raw.reader
    except BadData:
        # The first image is one of those that cannot be read: its finding comes from the reader of the ending.
        from .readers import choose

        reader = choose(dataset_json, None).name
    labels = LabelManager(dataset_json)
    allowed = [*labels.all_labels, *([labels.ignore_label] if labels.ignore_label is not None else [])]
    channels = len(raw.channel_names)
    jobs = [(reader, name, case, channels, allowed, path) for name, case in raw.cases.items()]
    workers = parallel.num_workers(workers, len(jobs))
    weights = [_weight(case, reader) for case in raw.cases.values()] if workers > 1 else None
    found: dict[int, list[Finding]] = dict(parallel.run(verify_case, jobs, workers, weights))
    return findings + [finding for index in sorted(found) for finding in found[index]]


def _weight(case: Case, reader: str) -> int:
    """Bytes that a case may take; a header that cannot be read is a finding of the case itself."""
    try:
        return reading_estimate(case, reader)
    except (BadData, OSError, ValueError):
        return PROCESS


def _files(raw: RawDataset) -> list[Finding]:
    """What the names of the files tell."""
    findings = []
    ending = raw.file_ending
    if "dataset" not in raw.dataset_json:
        missing = (part for part in ("imagesTr", "labelsTr") if not (raw.folder / part).is_dir())
        findings += [Finding("", part, "the folder is missing") for part in missing]
        images = "_0000" + ending
        findings += [
            Finding("", f"imagesTr/{p.name}", f"no channel number in its name; expected case{images}") for p in raw.stray_files()
        ]
        labels = raw.folder / "labelsTr"
        if labels.is_dir():
            for label in sorted(labels.iterdir()):
                name = label.name.removesuffix(ending)
                if label.name.endswith(ending) and not label.name.startswith(".") and name not in raw.cases:
                    findings.append(
                        Finding(name, f"labelsTr/{label.name}", f"a label without an image; expected imagesTr/{name}{images}")
                    )
        if not raw.cases and not findings:
            there = sorted({"".join(p.suffixes[-2:]) for p in (raw.folder / "imagesTr").iterdir() if p.is_file()})
            others = f" (dataset.json's file_ending); there are files with {', '.join(there[:MAX_VALUES])}" if there else ""
            findings.append(Finding("", "imagesTr", f"no image with the ending {ending}{others}"))
    if raw.cases and len(raw.cases) != raw.dataset_json["numTraining"]:
        expected = raw.dataset_json["numTraining"]
        findings.append(Finding("", "dataset.json", f"field numTraining is {expected}, there are {len(raw.cases)} training cases"))
    return findings


def _splits(raw: RawDataset) -> list[Finding]:
    """What is wrong with the dataset's own folds."""
    path = raw.folder / "splits_final.json"
    if not path.exists():
        return []
    try:
        found = splits.faults(description.read_json(path), list(raw.cases))
    except BadData as fault:
        found = [_without_path(fault.message, path)]
    return [Finding("", path.name, fault) for fault in found]


def verify_case(reader_name: str, name: str, case: Case, num_channels: int, allowed: list[int], folder: Path) -> list[Finding]:
    """All findings of one case."""
    reader = by_name(reader_name)
    findings: list[Finding] = []

    def shown(path: Path) -> str:
        return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)

    def note(path: Path, message: str, fatal: bool = True) -> None:
        findings.append(Finding(name, shown(path), message, fatal))

    first: tuple[Path, Image] | None = None
    channels, readable = 0, True
    for path in case.images:
        image = _read(reader, path, note)
        if image is None:
            readable = False
            continue
        channels += len(image.data)
        _check_values(_as_stored(path, image.data), path, note)
        if first is None:
            first = path, image
        else:
            _compare(first, (path, image), shown, note)
    if readable and channels != num_channels:
        has = f"{_count(channels, 'channel')} in {_count(len(case.images), 'file')}"
        findings.append(Finding(name, shown(case.images[0]), f"{has}, dataset.json names {num_channels}"))
    if case.label is None or not case.label.exists():
        findings.append(Finding(name, shown(case.images[0]), f"an image without a label; expected {shown(case.label or folder)}"))
        return findings
    label = _read(reader, case.label, note, label=True)
    if label is None:
        return findings
    _check_values(_as_stored(case.label, label.data), case.label, note)
    _check_labels(label.data, case.label, allowed, note)
    if first is not None:
        _compare(first, (case.label, label), shown, note)
    return findings


def _read(reader: Reader, path: Path, note: Any, label: bool = False) -> Image | None:
    try:
        if path.name.endswith(".nii.gz") and path.is_file():
            from .readers.gzipped import check_nifti

            check_nifti(path, thorough=True)
        return reader.read(path, label=label)
    except BadData as fault:
        note(path, _without_path(fault.message, path))
    except ValueError as error:
        note(path, str(error))
    return None


def _without_path(message: str, path: Path) -> str:
    return message.removeprefix(f"{path}: ").removeprefix(f"{path} ").removesuffix(".")


def _as_stored(path: Path, data: np.ndarray) -> np.ndarray:
    """The voxels as they are in the file, where reading would hide NaN."""
    if data.dtype.kind != "f" or not path.name.endswith(".nii.gz"):
        return data
    from .readers.gzipped import floating_voxels

    stored = floating_voxels(path)
    return data if stored is None else stored


def _check_values(data: np.ndarray, path: Path, note: Any) -> None:
    if data.dtype.kind != "f" or np.isfinite(data.sum(dtype=np.float64)):
        return
    for what, found in (("NaN", np.isnan(data)), ("infinite", np.isinf(data))):
        count = int(found.sum())
        if count:
            place = ", ".join(str(int(i)) for i in np.argwhere(found)[0][1:])
            note(path, f"{count} {'voxel is' if count == 1 else 'voxels are'} {what}, the first at z, y, x = {place}")


def _check_labels(data: np.ndarray, path: Path, allowed: list[int], note: Any) -> None:
    values = np.unique(data[np.isfinite(data)] if data.dtype.kind == "f" else data)
    wrong = [value for value in values.tolist() if value not in allowed]
    if wrong:
        shown = ", ".join(f"{value:g}" for value in wrong[:MAX_VALUES]) + (" …" if len(wrong) > MAX_VALUES else "")
        consecutive = len(allowed) > 1 and allowed == list(range(allowed[0], allowed[-1] + 1))
        names = f"{allowed[0]} to {allowed[-1]}" if consecutive else ", ".join(map(str, allowed))
        note(path, f"the label holds the value{'s' if len(wrong) > 1 else ''} {shown}, dataset.json names {names}")


def _compare(first: tuple[Path, Image], other: tuple[Path, Image], shown: Any, note: Any) -> None:
    """Shape and spacing must be the same; origin and direction should be."""
    (a_path, a), (b_path, b) = first, other
    if a.data.shape[1:] != b.data.shape[1:]:
        note(b_path, f"shape {_by(b.data.shape[1:])}, but {shown(a_path)} has {_by(a.data.shape[1:])}")
    if not np.allclose(a.spacing, b.spacing):
        note(b_path, f"spacing {_by(b.spacing)}, but {shown(a_path)} has {_by(a.spacing)}")
    for group, fields in (("sitk_stuff", ("origin", "direction")), ("nibabel_stuff", ("original_affine",))):
        for field in fields:
            x, y = a.geometry.get(group, {}).get(field), b.geometry.get(group, {}).get(field)
            if x is not None and y is not None and (np.shape(x) != np.shape(y) or not np.allclose(x, y, atol=1e-3)):
                note(b_path, f"{field} {_numbers(y)}, but {shown(a_path)} has {_numbers(x)}", fatal=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _by(numbers: Any) -> str:
    return "×".join(f"{n:g}" for n in numbers)


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{n:g}" for n in np.ravel(values)) + ")"
