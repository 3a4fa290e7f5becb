"""A dataset folder in nnU-Net v2's raw layout."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.contract.uri import is_utf8, printable

from . import description
from .readers import READERS, by_name, choose


@dataclass(frozen=True, slots=True)
class Case:
    """The files of one training case: its images, each with one channel or several, in channel order, and its label."""

    images: list[Path]
    label: Path | None


def files_of(case: Case, reader: str | None) -> list[Path]:
    """All files that a case is made of: images and label, and what the reader takes beside them where it exists.

    Raises:
        BadData: a header that may name other files cannot be understood.
    """
    files = [*case.images, *([case.label] if case.label is not None else [])]
    if reader is None or reader not in READERS:
        return files
    beside = [
        companion.path
        for path in files
        if path.is_file()
        for companion in by_name(reader).companions(path, label=path == case.label)
        if companion.required or companion.path.is_file()
    ]
    return list(dict.fromkeys([*files, *beside]))


class RawDataset:
    """`DatasetXXX_Name` with dataset.json and either imagesTr and labelsTr or a `dataset` field that names the files.

    Attributes:
        folder: where it lies.
        name: the folder's name.
        dataset_json: dataset.json's content, checked.
    """

    def __init__(self, folder: Path, dataset_json: dict[str, Any], name: str | None = None) -> None:
        self.folder = folder
        self.dataset_json = dataset_json
        self.name = name or folder.resolve().name

    @classmethod
    def open(cls, folder: str | os.PathLike[str], name: str | None = None) -> RawDataset:
        """Open a dataset folder.

        Args:
            folder: the folder that holds dataset.json.
            name: the dataset's name when the folder's own is another.

        Raises:
            BadData: no folder, no dataset.json, or one with faults (all of them named).
        """
        path = Path(folder)
        if not path.is_dir():
            raise BadData("InvalidDatasetJson", f"{path} is no folder; expected a dataset in nnU-Net's raw layout.")
        dataset_json = description.read_json(path / "dataset.json")
        description.check(dataset_json, path / "dataset.json")
        return cls(path, dataset_json, name)

    @property
    def file_ending(self) -> str:
        """Of all images and labels, with its dot."""
        return str(self.dataset_json["file_ending"])

    @property
    def channel_names(self) -> dict[str, str]:
        """Channel index to name."""
        return description.channel_names(self.dataset_json)

    @cached_property
    def cases(self) -> dict[str, Case]:
        """All training cases, by name, in nnU-Net's order. A label that does not exist is still named."""
        if "dataset" in self.dataset_json:
            listed = self.dataset_json["dataset"]
            return {n: Case([self._path(i) for i in c["images"]], self._path(c["label"])) for n, c in listed.items()}
        found: dict[str, list[Path]] = {}
        for path, case in self._channel_files("imagesTr"):
            found.setdefault(case, []).append(path)
        return {case: Case(found[case], self.folder / "labelsTr" / (case + self.file_ending)) for case in sorted(found)}

    @cached_property
    def reader(self) -> str:
        """The image reader's name: dataset.json's own, else the first that reads the first image."""
        first = next(iter(self.cases.values()), None)
        return choose(self.dataset_json, first.images[0] if first and first.images else None).name

    @property
    def any_reader(self) -> str:
        """The same where plans of another dataset come in: as nnU-Net there, a reader of another ending is tried too."""
        first = next(iter(self.cases.values()), None)
        return choose(self.dataset_json, first.images[0] if first and first.images else None, any_ending=True).name

    def case(self, name: str) -> Case:
        """One case.

        Raises:
            BadData: there is none of this name.
        """
        if name not in self.cases:
            raise BadData("InvalidCases", f"{self.name} has no case named {name!r}; it has {len(self.cases)} cases.")
        return self.cases[name]

    def stray_files(self) -> list[Path]:
        """Files in imagesTr that end as images do but have no channel number, so that no case owns them."""
        if "dataset" in self.dataset_json:
            return []
        owned = {path for path, _ in self._channel_files("imagesTr")}
        return [path for path in _files(self.folder / "imagesTr", self.file_ending) if path not in owned]

    def _channel_files(self, part: str) -> list[tuple[Path, str]]:
        pattern = re.compile(r"(?P<case>.+)_\d{4}" + re.escape(self.file_ending))
        files = [(path, pattern.fullmatch(path.name)) for path in _files(self.folder / part, self.file_ending)]
        return [(path, match["case"]) for path, match in files if match]

    def _path(self, text: str) -> Path:
        path = Path(as_written(text, lambda path: (self.folder / path).exists()))
        return path if path.is_absolute() else Path(os.path.abspath(self.folder / path))


def as_written(text: str, exists: Callable[[str], bool]) -> str:
    """A path of dataset.json: as it is written where that exists, else with $VARIABLES replaced, as nnU-Net does it."""
    return text if "$" not in text or exists(text) else os.path.expandvars(text)


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if path.name.endswith(ending) and not path.name.startswith("."))
    if odd := [printable(path.name) for path in found if not is_utf8(path.name)]:
        raise BadData("InvalidCases", f"{folder}: names that are not UTF-8: {', '.join(odd)}.", hint="Rename the files.")
    return found
