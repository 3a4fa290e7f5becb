"""The Medical Segmentation Decathlon's layout, converted to nnU-Net's.

There an image is one file with its channels as the fourth axis, labels are {"1": "name"}, and dataset.json lists the cases.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..contract.faults import BadData

ENDING = ".nii.gz"
HINT = "This is not the Decathlon's layout. For nnU-Net's own say spec.source.layout: nnUNetV2."


def convert(folder: Path, target: Path, cases: Collection[str] | None = None) -> Path:
    """Write a dataset in nnU-Net's layout; images of one channel and labels are linked, not copied.

    Args:
        folder: MSD's TaskXX_Name.
        target: where to; what is there already stays.
        cases: convert only these; all if None.

    Raises:
        BadData: dataset.json is not the Decathlon's, or an image cannot be read.
    """
    described = _read(folder / "dataset.json")
    for name in ("imagesTr", "labelsTr"):
        (target / name).mkdir(parents=True, exist_ok=True)
    labels = {str(name): int(value) for value, name in described["labels"].items()}
    channels = described["modality"]
    training = [(case_name(entry["image"]), folder / entry["image"], folder / entry["label"]) for entry in described["training"]]
    for case, image, label in training:
        if cases is not None and case not in cases:
            continue
        if not image.exists():  # verifying names it
            continue
        _split(case, image, target / "imagesTr", len(channels))
        if label.exists():
            _link(label, target / "labelsTr" / f"{case}{ENDING}")
    converted = {
        "channel_names": {str(i): str(channels[str(i)]) for i in range(len(channels))},
        "labels": labels,
        "numTraining": len(training),
        "file_ending": ENDING,
        **{key: described[key] for key in ("name", "description", "reference", "licence", "release") if key in described},
    }
    (target / "dataset.json").write_text(json.dumps(converted, indent=4))
    return target


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BadData("InvalidDatasetJson", f"{path} does not exist.") from error
    except ValueError as error:
        raise BadData("InvalidDatasetJson", f"{path}: not JSON: {error}.") from error
    missing = [field for field in ("modality", "labels", "training") if field not in found]
    if missing:
        raise BadData("InvalidDatasetJson", f"{path} has no field {', '.join(missing)}.", hint=HINT)
    entries = found["training"]
    if not isinstance(entries, list) or not all(isinstance(e, dict) and {"image", "label"} <= set(e) for e in entries):
        raise BadData("InvalidDatasetJson", f"{path}: training is no list of {{image, label}}.", hint=HINT)
    if not all(str(value).isdigit() for value in found["labels"]):
        raise BadData("InvalidDatasetJson", f'{path}: labels is not {{"0": "background", …}}.', hint=HINT)
    return found


def case_name(image: str) -> str:
    """The case of an image's path."""
    name = Path(image).name
    return name.removesuffix(ENDING) if name.endswith(ENDING) else Path(name).stem


def _split(case: str, image: Path, folder: Path, channels: int) -> None:
    targets = [folder / f"{case}_{c:04d}{ENDING}" for c in range(channels)]
    if all(t.exists() for t in targets):
        return
    if channels == 1:
        _link(image, targets[0])
        return
    import SimpleITK as sitk

    try:
        whole = sitk.ReadImage(str(image))
    except RuntimeError as error:
        raise BadData("InvalidCases", f"{case}: {image} cannot be read: {str(error).splitlines()[-1]}") from error
    if whole.GetDimension() != 4 or whole.GetSize()[3] != channels:
        found = whole.GetSize()[3] if whole.GetDimension() == 4 else 1
        raise BadData("InvalidCases", f"{case}: {image} has {found} channels, dataset.json's modality names {channels}.")
    size = [*whole.GetSize()[:3], 0]
    for channel, target in enumerate(targets):
        beside = target.with_name(f".partial-{target.name}")
        sitk.WriteImage(sitk.Extract(whole, size, [0, 0, 0, channel]), str(beside))
        os.replace(beside, target)


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.symlink(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
