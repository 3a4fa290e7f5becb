"""Every fault of a raw dataset at once."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from nnunet_trainer.contract.faults import BadData

from .. import description, parallel, splits
from ..labels import LabelManager
from ..memory import PROCESS, reading_estimate
from ..raw import Case, RawDataset
from ..storage_errors import similar_name
from .case_faults import CaseFaults, verify_case
from .findings import Finding

__all__ = ["Finding", "verify"]

MAX_VALUES = 8


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
    findings = [*_files(raw), *_same_images(raw), *_splits(raw)]
    if not raw.cases:
        return findings
    try:
        reader = raw.reader
    except BadData:
        # The first image is one of those that cannot be read: its finding comes from the reader of the ending.
        from ..readers import choose

        reader = choose(dataset_json, None).name
    labels = LabelManager(dataset_json)
    allowed = [*labels.all_labels, *([labels.ignore_label] if labels.ignore_label is not None else [])]
    channels = [str(raw.channel_names[key]) for key in sorted(raw.channel_names, key=int)]
    jobs = [(reader, name, case, channels, allowed, raw.file_ending, path) for name, case in raw.cases.items()]
    workers = parallel.num_workers(workers, len(jobs))
    weights = [_weight(case, reader) for case in raw.cases.values()] if workers > 1 else None
    found: dict[int, CaseFaults] = dict(parallel.run(verify_case, jobs, workers, weights))
    cases = {name: found[index] for index, name in enumerate(raw.cases)}
    return [*findings, *(finding for case in cases.values() for finding in case.findings), *_beside_the_others(cases, raw)]


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
        findings += _channel_numbers(raw)
        labels = raw.folder / "labelsTr"
        if labels.is_dir():
            for label in sorted(labels.iterdir()):
                name = label.name.removesuffix(ending)
                if label.name.endswith(ending) and not label.name.startswith(".") and name not in raw.cases:
                    message = f"a label without an image; expected imagesTr/{name}{images}"
                    similar = similar_name(raw.folder / "imagesTr" / (name + images))
                    findings.append(Finding(name, f"labelsTr/{label.name}", message + similar))
        if not raw.cases and not findings:
            there = sorted({"".join(p.suffixes[-2:]) for p in (raw.folder / "imagesTr").iterdir() if p.is_file()})
            others = f" (dataset.json's file_ending); there are files with {', '.join(there[:MAX_VALUES])}" if there else ""
            findings.append(Finding("", "imagesTr", f"no image with the ending {ending}{others}"))
    if raw.cases and len(raw.cases) != raw.dataset_json["numTraining"]:
        expected = raw.dataset_json["numTraining"]
        findings.append(Finding("", "dataset.json", f"field numTraining is {expected}, there are {len(raw.cases)} training cases"))
    return findings


def _channel_numbers(raw: RawDataset) -> list[Finding]:
    """Cases whose files leave a number out: what one of them takes for its second channel may be another's third."""
    findings = []
    for name, case in raw.cases.items():
        numbers = [path.name.removesuffix(raw.file_ending)[-4:] for path in case.images]
        expected = [f"{number:04d}" for number in range(len(numbers))]
        if numbers != expected:
            has = f"the files of this case are numbered {', '.join(numbers)}, expected {', '.join(expected)}"
            findings.append(Finding(name, f"imagesTr/{case.images[0].name}", has))
    return findings


def _same_images(raw: RawDataset) -> list[Finding]:
    """Images that serve more than once: nnU-Net takes them, but folds that share images tell nothing."""
    findings: list[Finding] = []
    owners: dict[str, str] = {}
    for name, case in raw.cases.items():
        for path in case.images:
            owner = owners.setdefault(os.path.realpath(path), name) if path.exists() else name
            if owner != name:
                message = f"this image is the case {owner}'s too"
                findings.append(Finding(name, _shown(path, raw.folder), message, fatal=False, kind="same image"))
        files = [os.path.realpath(path) for path in case.images]
        if len(set(files)) < len(files):
            message = "several of the case's channels are this one file"
            findings.append(Finding(name, _shown(case.images[0], raw.folder), message, fatal=False, kind="same channel"))
    return findings


def _splits(raw: RawDataset) -> list[Finding]:
    """What is wrong with the dataset's own folds, and what is odd about them."""
    path = raw.folder / "splits_final.json"
    if not path.exists():
        return []
    try:
        content = description.read_json(path)
    except BadData as fault:
        return [Finding("", path.name, _without_path(fault.message, path))]
    if found := splits.faults(content, list(raw.cases)):
        return [Finding("", path.name, fault) for fault in found]
    return [Finding("", path.name, warning, fatal=False) for warning in splits.warnings(content)]


def _beside_the_others(cases: dict[str, CaseFaults], raw: RawDataset) -> list[Finding]:
    """What is wrong with a case because of what the others are, and with all of them together."""
    dimensions = Counter(case.dimensions for case in cases.values() if case.dimensions)
    usual = dimensions.most_common(1)[0][0] if dimensions else 0
    findings = [
        Finding(name, _shown(raw.cases[name].images[0], raw.folder), f"{case.dimensions} dimensions, the other cases have {usual}")
        for name, case in cases.items()
        if case.dimensions not in (0, usual)
    ]
    if cases and all(case.foreground is False for case in cases.values()):
        findings.append(Finding("", "dataset.json", "no label has any foreground, so there is nothing to learn"))
    return findings


def _shown(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _without_path(message: str, path: Path) -> str:
    return message.removeprefix(f"{path}: ").removeprefix(f"{path} ").removesuffix(".")
