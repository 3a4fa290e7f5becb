"""Files that are read beside the images and labels of raw data, wherever their headers or names lead in the dataset's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..contract.faults import BadData
from ..contract.uri import is_utf8
from ..dataset import description
from ..dataset.raw import RawDataset
from ..dataset.readers import READERS, Companion, Reader, by_file_ending, by_name

Companions = dict[str, list[str]]
"""The files that a reader takes beside each image and label, all by their paths in the dataset."""


def companions(folder: Path, described: dict[str, Any]) -> Companions:
    """What the readers of a dataset in nnU-Net's layout take beside each image and label of a folder.

    Files that cannot be read, and companions outside of the folder, are left to verifying, which names them.
    """
    root = Path(os.path.abspath(folder))
    if description.faults(described):
        return {}
    raw = RawDataset(root, described)
    try:
        readers = [by_name(raw.reader)]
    except BadData:
        readers = readers_of(described)
    found: Companions = {}
    for case in raw.cases.values():
        for path in [*case.images, *([case.label] if case.label else [])]:
            if not path.is_file() or not path.is_relative_to(root):
                continue
            beside = [c.path for reader in readers for c in _companions_of(reader, path, label=path == case.label)]
            inside = [Path(os.path.abspath(each)) for each in beside]
            if names := [each.relative_to(root).as_posix() for each in inside if each.is_relative_to(root) and is_utf8(str(each))]:
                found[path.relative_to(root).as_posix()] = sorted(set(names))
    return found


def readers_of(described: dict[str, Any]) -> list[Reader]:
    """The reader that dataset.json names, else all that may be chosen for its file ending."""
    named = described.get("overwrite_image_reader_writer")
    return [by_name(named)] if named in READERS else by_file_ending(str(described.get("file_ending", "")))


def _companions_of(reader: Reader, path: Path, *, label: bool) -> list[Companion]:
    try:
        return reader.companions(path, label=label)
    except BadData:
        return []
