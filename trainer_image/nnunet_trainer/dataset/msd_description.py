"""dataset.json of the Medical Segmentation Decathlon: what it must say, and every way in which it does not.

`modality` {"0": "CT"}, `labels` {"0": "background", "1": "liver"}, and `training`, a list of {"image", "label"} with paths from the
dataset's folder. Source of the rules: the Decathlon's ten dataset.json, and what nnUNetv2_convert_MSD_dataset makes of them.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadData

from . import description

ENDING = ".nii.gz"
"""Of all that is converted."""
MOST = 10
"""More lines about entries of `training` are counted only."""
LABELS = 'expected values and their names, as {"0": "background", "1": "liver"}'
ENTRY = 'expected {"image": "./imagesTr/case.nii.gz", "label": "./labelsTr/case.nii.gz"}'
HINT = "Repair dataset.json: modality, labels and training as the Medical Segmentation Decathlon has them."
OTHER_LAYOUT = "This is not the Decathlon's layout. For nnU-Net's own say spec.source.layout: nnUNetV2."
_NIFTI = re.compile(r"\.(nii(\.gz)?|NII(\.GZ)?)$")
"""The endings that NIfTI's own library takes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One case of `training`: its name, and the paths of image and label from the dataset's folder, without `./`."""

    case: str
    image: str
    label: str


def read(path: Path, where: str | None = None) -> dict[str, Any]:
    """A dataset.json without faults.

    Args:
        path: the file.
        where: how messages name it; its path if None.

    Raises:
        BadData: missing, not JSON, or with faults; all of them are named.
    """
    try:
        return parse(path.read_bytes(), where or str(path))
    except OSError as error:
        raise BadData("InvalidDatasetJson", f"{where or path} cannot be read: {error.strerror}.") from error


def parse(data: bytes, where: str) -> dict[str, Any]:
    """The same from the file's content."""
    twice: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.extend(f"the field {key} stands twice in one object" for key, n in Counter(k for k, _ in pairs).items() if n > 1)
        return dict(pairs)

    found = description.parse_json(data, where, "InvalidDatasetJson", collect)
    lines = [*twice, *faults(found)]
    if lines:
        ours = isinstance(found, dict) and "training" not in found and not {"channel_names", "file_ending"}.isdisjoint(found)
        raise description.refusal(where, lines, OTHER_LAYOUT if ours else HINT)
    assert isinstance(found, dict)
    return found


def entries(described: dict[str, Any]) -> list[Entry]:
    """The training cases of a dataset.json without faults, in its order."""
    return [Entry(case_name(e["image"]), _normal(e["image"]), _normal(e["label"])) for e in described["training"]]


def case_name(image: str) -> str:
    """The case of an image's path."""
    return _NIFTI.sub("", posixpath.basename(image))


def converted(described: dict[str, Any]) -> dict[str, Any]:
    """nnU-Net's dataset.json: as nnUNetv2_convert_MSD_dataset, what the Decathlon alone knows left out, all else kept."""
    kept = {key: value for key, value in described.items() if key not in ("modality", "training", "test")}
    return {
        **kept,
        "labels": {name: int(value) for value, name in described["labels"].items()},
        "file_ending": ENDING,
        "channel_names": described["modality"],
        "numTraining": len(described["training"]),
    }


def missing(found: Collection[Entry], there: Collection[str]) -> list[tuple[str, str]]:
    """Case and line for each file that a case names and that is not there, or that is not the one that nnU-Net would take."""
    lines = []
    for entry in found:
        for field, path in (("image", entry.image), ("label", entry.label)):
            if path not in there:
                old = f"{path[: -len(ENDING)]}_0000{ENDING}"
                hint = f"; there is {old}: is this nnU-Net's old format (v1)?" if path.endswith(ENDING) and old in there else ""
                lines.append((entry.case, f"the {field} {path}, which dataset.json names in training, does not exist{hint}"))
        folder, name = posixpath.split(entry.label)
        own = posixpath.join(folder, posixpath.basename(entry.image))
        if name != posixpath.basename(entry.image) and own in there:
            both = f"dataset.json names the label {entry.label}, nnU-Net would take {own}"
            lines.append((entry.case, f"{both}; give image and label the same file name"))
    return lines


def unlisted(found: Collection[Entry], there: Collection[str]) -> list[str]:
    """Images that lie in imagesTr and are not named in `training`, so that no case owns them."""
    named = {entry.image for entry in found}
    return [path for path in there if path.startswith("imagesTr/") and _NIFTI.search(path) and path not in named]


def faults(described: Any) -> list[str]:
    """All that is wrong with the content of a dataset.json, one line for each field."""
    if not isinstance(described, dict):
        return [f"the document is {description.kind(described)}, expected an object"]
    lines = [*_modality_faults(described), *_label_faults(described), *_training_faults(described)]
    if "dataset" in described:
        lines.append("field dataset is of nnU-Net's layout; here training names the files")
    return lines or description.faults(converted(described))


def _modality_faults(described: dict[str, Any]) -> list[str]:
    if "modality" not in described:
        return ['field modality is missing; expected the channels, as {"0": "CT"}']
    return description.channel_faults(described["modality"], "modality")


def _label_faults(described: dict[str, Any]) -> list[str]:
    if "labels" not in described:
        return [f"field labels is missing; {LABELS}"]
    labels = described["labels"]
    if not isinstance(labels, dict) or not labels:
        return [f"field labels is {'empty' if labels in ({}, []) else description.kind(labels)}, {LABELS}"]
    lines, values, names = [], {}, {}
    for key, name in labels.items():
        value = _integer(key)
        if value is None:
            lines.append(f"field labels has the key {key!r}, {LABELS}")
        elif value in values:
            lines.append(f"field labels has the value {value} twice, as {values[value]!r} and {key!r}")
        if not isinstance(name, str):
            lines.append(f"field labels.{key} is {description.kind(name)}, expected a name")
        elif name in names:
            lines.append(f"field labels gives {names[name]!r} and {key!r} the same name, {name!r}")
        else:
            names[name] = key
        if value is not None:
            values.setdefault(value, key)
    if not lines and "background" not in names:
        found = f"labels.{values[0]} is {labels[values[0]]!r}" if 0 in values else "labels.0 is missing"
        lines.append(f"field {found}, expected 'background'")
    return lines


def _integer(key: str) -> int | None:
    try:
        return int(key)
    except ValueError:
        return None


def _training_faults(described: dict[str, Any]) -> list[str]:
    if "training" not in described:
        return [f"field training is missing; expected a list of cases, each as {ENTRY.removeprefix('expected ')}"]
    training = described["training"]
    if not isinstance(training, list):
        return [
            f"field training is {description.kind(training)}, expected a list of cases, each as {ENTRY.removeprefix('expected ')}"
        ]
    if not training:
        return ["field training is empty; it must list the cases"]
    lines = []
    seen: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(training):
        where = f"training[{index}]"
        if not isinstance(entry, dict):
            lines.append(f"field {where} is {description.kind(entry)}")
            continue
        for field in ("image", "label"):
            line = _path_fault(entry, field)
            if line:
                lines.append(f"field {where}.{field} {line}")
                continue
            # Two images of one case would be written over each other; a label belongs to one image.
            key = (field, case_name(entry[field]) if field == "image" else _normal(entry[field]))
            if key in seen:
                lines.append(f"field {where}.{field} is {entry[field]!r}, which training[{seen[key]}] names already")
            seen.setdefault(key, index)
    if lines:
        lines[0] += f"; {ENTRY}"
    if len(lines) > MOST:
        lines = [*lines[:MOST], f"and {len(lines) - MOST} more in training"]
    count = described.get("numTraining", len(training))
    if isinstance(count, bool) or count != len(training):
        lines.append(f"field numTraining is {json.dumps(count)}, training lists {len(training)} cases")
    return lines


def _path_fault(entry: dict[str, Any], field: str) -> str:
    """What is wrong with the path, "" if nothing."""
    if field not in entry:
        return "is missing"
    path = entry[field]
    if not isinstance(path, str):
        return f"is {description.kind(path)}"
    if fault := description.path_fault(path):
        return fault
    if posixpath.isabs(path) or _normal(path).split("/")[0] == "..":
        return f"is {path!r}, which is not below the dataset's folder"
    name = posixpath.basename(path)
    if name.startswith("."):
        return f"is {path!r}, a hidden file (such as macOS makes beside each one): leave it out"
    if not _NIFTI.search(name) or not case_name(name):
        return f"is {path!r}, expected a file that ends in .nii.gz or .nii"
    return ""


def _normal(path: str) -> str:
    return posixpath.normpath(path)
