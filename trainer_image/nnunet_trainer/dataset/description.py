"""dataset.json: what it must say, and every way in which it does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.contract.uri import is_utf8

from .files import parse_json as parse_json
from .labels import label_faults

RGB = "rgb_to_0_1"
"""The channel name, in any case, whose values nnU-Net takes for 0 to 255."""

FORGOTTEN = "where a plug-in brings it, name that in spec.plugins, or with --plugins DIR"
VERSION_1 = (
    "it is a dataset.json of nnU-Net's version 1 or of the Decathlon: a Decathlon's folder is read with spec.source.layout: MSD, "
    "or converted by nnUNetv2_convert_MSD_dataset; one of version 1 is converted by nnUNetv2_convert_old_nnUNet_dataset"
)
REASONS = {"dataset.json": "InvalidDatasetJson", "splits_final.json": "InvalidSplits"}


def channel_names(dataset_json: dict[str, Any]) -> dict[str, str]:
    """Channel index ("0", "1", …) to name; `modality` is the field's name in nnU-Net v1."""
    names = dataset_json.get("channel_names", dataset_json.get("modality"))
    if not isinstance(names, dict):
        raise BadData("InvalidDatasetJson", "dataset.json: field channel_names is missing.")
    return names


def read_json(path: Path) -> Any:
    """Read a JSON file that a person wrote.

    Raises:
        BadData: missing, unreadable or not JSON; the message names the file and the place.
    """
    reason = REASONS.get(path.name, "InvalidFile")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadData("MissingFile" if reason == "InvalidFile" else reason, f"{path} does not exist.") from error
    except OSError as error:
        raise BadData(reason, f"{path} cannot be read: {error.strerror}.") from error
    return parse_json(data, str(path), reason)


def faults(dataset_json: Any) -> list[str]:
    """All that is wrong with the content of a dataset.json, one line for each field."""
    if not isinstance(dataset_json, dict):
        return [f"the document is {kind(dataset_json)}, expected an object"]
    lines = [*_channel_faults(dataset_json), *_count_faults(dataset_json), *_ending_faults(dataset_json)]
    if "labels" not in dataset_json:
        lines.append('field labels is missing; expected names and values, as {"background": 0, "liver": 1}')
    else:
        lines += label_faults(dataset_json["labels"], dataset_json.get("regions_class_order"))
    lines += _case_faults(dataset_json)
    if lines and "training" in dataset_json and "channel_names" not in dataset_json:
        lines.append(VERSION_1)
    return lines


def check(dataset_json: Any, path: Path) -> None:
    """Raise one BadData with all faults of a dataset.json."""
    found = faults(dataset_json)
    if found:
        raise refusal(str(path), found, "Repair dataset.json (nnU-Net's dataset format describes its fields).")


def refusal(where: str, lines: Sequence[str], hint: str) -> BadData:
    """One BadData with all faults of a dataset.json."""
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    return BadData("InvalidDatasetJson", f"{where}: {count}: {'; '.join(lines)}.", hint=hint)


def path_fault(path: str) -> str:
    """What is wrong with a path as a text, "" if nothing."""
    if not path:
        return "is empty, expected a path"
    if not is_utf8(path) or any(ord(character) < 32 or ord(character) == 127 for character in path):
        return f"is {json.dumps(path)}, which is no name of a file"
    return ""


def kind(value: Any) -> str:
    """A JSON value's kind, in words."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _channel_faults(dataset_json: dict[str, Any]) -> list[str]:
    field = "channel_names" if "channel_names" in dataset_json or "modality" not in dataset_json else "modality"
    names = dataset_json.get(field)
    if names is None:
        return ['field channel_names is missing; expected the channels, as {"0": "CT"}']
    return channel_faults(names, field)


def channel_faults(names: Any, field: str) -> list[str]:
    """All that is wrong with the channels' names; `field` is where dataset.json has them."""
    if not isinstance(names, dict) or not names:
        return [f'field {field} is {"empty" if names in ({}, []) else kind(names)}, expected the channels, as {{"0": "CT"}}']
    lines = []
    expected = [str(i) for i in range(len(names))]
    if sorted(names, key=lambda key: (len(key), key)) != expected:
        lines.append(f"field {field} has the keys {', '.join(names)}, expected {', '.join(expected)}")
    lines += [f"field {field}.{key} is {kind(name)}, expected a name" for key, name in names.items() if not isinstance(name, str)]
    return lines


def _count_faults(dataset_json: dict[str, Any]) -> list[str]:
    if "numTraining" not in dataset_json:
        return ["field numTraining is missing; expected the number of training cases"]
    count = dataset_json["numTraining"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        return [f"field numTraining is {json.dumps(count)}, expected the number of training cases"]
    return []


def _ending_faults(dataset_json: dict[str, Any]) -> list[str]:
    from .readers import READERS, by_file_ending

    lines = []
    ending = dataset_json.get("file_ending")
    override = dataset_json.get("overwrite_image_reader_writer", "None")
    if ending is None:
        lines.append('field file_ending is missing; expected the ending of all images and labels, as ".nii.gz"')
    elif not isinstance(ending, str) or not ending.startswith("."):
        lines.append(f'field file_ending is {json.dumps(ending)}, expected an ending with its dot, as ".nii.gz"')
    elif override == "None" and not by_file_ending(ending):
        known = sorted({known for reader in READERS.all() for known in reader.file_endings})
        lines.append(f"field file_ending is {ending!r}, which no reader reads; known: {', '.join(known)} ({FORGOTTEN})")
    if override != "None" and (not isinstance(override, str) or override not in READERS):
        known = ", ".join(READERS)
        lines.append(f"field overwrite_image_reader_writer is {json.dumps(override)}; known: {known} ({FORGOTTEN})")
    return lines


def _case_faults(dataset_json: dict[str, Any]) -> list[str]:
    if "dataset" not in dataset_json:
        return []
    cases = dataset_json["dataset"]
    if not isinstance(cases, dict):
        return [f'field dataset is {kind(cases)}, expected cases, as {{"case": {{"images": [..], "label": ".."}}}}']
    lines = []
    for name, case in cases.items():
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            lines.append(
                f"field dataset.{name}: a case's name becomes the name of files; expected one without / that begins with no dot"
            )
        images = case.get("images") if isinstance(case, dict) else None
        if not isinstance(images, list) or not images or not all(isinstance(image, str) for image in images):
            lines.append(f"field dataset.{name}.images is no list of paths")
        else:
            lines += [f"field dataset.{name}.images {fault}" for image in images if (fault := path_fault(image))]
        label = case.get("label") if isinstance(case, dict) else None
        if not isinstance(label, str):
            lines.append(f"field dataset.{name}.label is no path")
        elif fault := path_fault(label):
            lines.append(f"field dataset.{name}.label {fault}")
    return lines
