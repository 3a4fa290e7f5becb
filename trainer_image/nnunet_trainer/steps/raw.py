"""Raw data of a work order: listing, staging, and noticing that they changed after they were read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..artifacts import ObjectInfo, ObjectStore, digests, open_store
from ..artifacts.artifact import Artifact
from ..artifacts.digests import FileEntry
from ..artifacts.parallel import for_each
from ..artifacts.store import ObjectNotFound
from ..contract import keys, uri
from ..contract.faults import BadData
from ..contract.json_text import codec
from ..contract.work_order import Location
from ..dataset import description, msd_description
from ..dataset.raw import as_written
from . import msd
from .common import named, scratch
from .raw_companions import Companions, companions, readers_of

FILES = "files.json"
FOLDERS = ("imagesTr/", "labelsTr/")
SINGLE = ("dataset.json", "splits_final.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A raw file as it was when it was read. `tag` is its ETag, or its modification time in nanoseconds."""

    path: str
    size: int
    sha256: str
    tag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFiles:
    """files.json of a dataset's artifact."""

    source: str
    layout: str
    files: list[SourceFile] = field(default_factory=list)
    companions: Companions | None = None
    """Of images and labels; also those that might be there but are not. None: it was not yet written down."""

    def digest(self, *changed: object) -> str:
        """The dataset's digest; what was chosen beyond the defaults is part of it, and what is read beside the images."""
        plain = keys.dataset_digest((f.path, f.size, f.sha256) for f in self.files)
        there = {f.path for f in self.files}
        beside = sorted([path, *(c for c in found if c in there)] for path, found in (self.companions or {}).items())
        if beside := [row for row in beside if len(row) > 1]:
            plain = keys.digest("dataset", plain, "companions", beside)
        return keys.digest("dataset", plain, *changed) if any(changed) else plain


class Source:
    """Where raw data lie, in nnU-Net's layout or in the Medical Segmentation Decathlon's."""

    def __init__(self, location: Location, layout: str, name: str) -> None:
        self.store: ObjectStore = open_store(location)
        self.layout = layout
        self.name = name

    @property
    def uri(self) -> str:
        return self.store.uri()

    def listing(self) -> dict[str, ObjectInfo]:
        """All files that belong to the training cases, by path.

        Raises:
            BadData: there is no dataset.json.
        """
        found = {info.key: info for info in self._list()}
        if "dataset.json" not in found:
            what = "no dataset.json" if found else "no dataset: no dataset.json, and nothing in imagesTr and labelsTr"
            hint = "Does spec.source.uri name the dataset's own folder (DatasetXXX_Name)?"
            if "%" in self.uri:
                hint += " It is read as it is written: %20 is no space."
            local = self.store.local_path("")
            if local is not None and not local.is_dir():
                raise BadData(
                    "InvalidDatasetJson", f"{self.uri} {'is no folder' if local.exists() else 'does not exist'}.", hint=hint
                )
            raise BadData("InvalidDatasetJson", f"{self.uri} holds {what}.", hint=hint)
        self._refuse_names(found)
        return found

    def _refuse_names(self, found: Iterable[str]) -> None:
        odd = [uri.printable(path) for path in found if not uri.is_utf8(path)]
        if odd:
            count = "1 file" if len(odd) == 1 else f"{len(odd)} files"
            message = f"The names of {count} in {self.uri} are not UTF-8"
            raise BadData("InvalidCases", message, findings=odd, hint="Rename them: an object store keeps UTF-8 names only.")

    def _list(self) -> Iterable[ObjectInfo]:
        for name in SINGLE:
            if info := self.store.stat(name):
                yield info
        for folder in FOLDERS:
            for info in self.store.list(folder):
                if not info.key.rpartition("/")[2].startswith("."):
                    yield info
        for path in self._listed_elsewhere():
            if info := self.store.stat(path):
                yield info

    def _listed_elsewhere(self) -> list[str]:
        """Files that dataset.json names outside of imagesTr and labelsTr: in `training`, or in the field `dataset`."""
        described = self.described
        if self.layout == "MSD":
            named = [] if msd_description.faults(described) else msd_description.entries(described)
            return sorted({p for e in named for p in (e.image, e.label) if not p.startswith(FOLDERS)})
        if not isinstance(described.get("dataset"), dict) or description.faults(described):
            return []  # whoever reads it names the faults
        texts = {text for case in described["dataset"].values() for text in [*case["images"], case["label"]]}
        paths = {as_written(text, lambda p: self.store.stat(posixpath.normpath(p)) is not None) for text in texts}
        elsewhere = sorted(p for p in map(posixpath.normpath, paths) if not p.startswith(FOLDERS))
        outside = [path for path in elsewhere if path.startswith(("/", "../"))]
        if outside and self.store.local_path("") is None:  # their copies would lie outside of scratch, too
            message = (
                f"{self.store.uri('dataset.json')}: field dataset names files outside of {self.uri}, which are not read from there"
            )
            raise BadData("InvalidDatasetJson", message, findings=outside, hint="Keep all files in the dataset's own folder.")
        return elsewhere

    @cached_property
    def described(self) -> dict[str, Any]:
        """dataset.json as it stands, {} when it is none."""
        try:
            found = description.parse_json(self.store.get("dataset.json"), self.store.uri("dataset.json"), "InvalidDatasetJson")
        except (ObjectNotFound, BadData):
            return {}
        return found if isinstance(found, dict) else {}

    def read(self, path: str) -> bytes:
        return self.store.get(path)

    def stage(self, paths: Collection[str], fetched: Callable[[], None] = lambda: None) -> Path:
        """The dataset's folder on this machine: its own where it is mounted, else a copy of these files in scratch."""
        local = self.store.local_path("")
        if local is not None:
            for _ in paths:
                fetched()
            return local
        folder = scratch("raw", self.name)

        def bring(path: str) -> None:
            self.store.get_file(path, folder / path)
            fetched()

        for_each(paths, bring)
        return folder

    def layout_folder(self, folder: Path, cases: Collection[str] | None = None) -> Path:
        """The folder in nnU-Net's layout: as it is, or converted."""
        if self.layout != "MSD":
            return folder
        with named(folder, self.uri):
            return msd.convert(folder, scratch("converted", self.name), cases)

    def with_companions(self, listing: dict[str, ObjectInfo], companions: Companions) -> dict[str, ObjectInfo]:
        """A listing and those companions beyond imagesTr and labelsTr that exist."""
        further = {path for found in companions.values() for path in found} - set(listing)
        found = {path: info for path in sorted(further) if (info := self.store.stat(path))}
        return {**listing, **found}

    def companions(self, folder: Path) -> Companions:
        """What the reader of the dataset takes beside its images and labels, from their headers where those name it.

        Args:
            folder: where `stage` has put images and labels.
        """
        return {} if self.layout == "MSD" else companions(folder, self.described)

    def record(
        self, folder: Path, listing: dict[str, ObjectInfo], beside: Companions, hashed: Callable[[], None] = lambda: None
    ) -> SourceFiles:
        """The sha256 of every file, with the tags that tell a change without reading."""
        entries: dict[str, FileEntry] = {}

        def hash_one(path: str) -> None:
            entries[path] = digests.entry(folder / path, path)
            hashed()

        for_each(listing, hash_one)
        files = [
            SourceFile(path=path, size=entries[path].size, sha256=entries[path].sha256, tag=listing[path].tag)
            for path in sorted(listing)
        ]
        return SourceFiles(source=self.uri, layout=self.layout, files=files, companions=beside)

    def same(self, recorded: SourceFiles, listing: dict[str, ObjectInfo]) -> bool:
        """Whether sizes and tags are those of the record: then nothing needs to be read."""
        if recorded.companions is None and self._may_have_companions():
            return False  # they are no part of what was recorded
        whole = self.with_companions(listing, recorded.companions or {})
        now = [(i.key, i.size, i.tag) for i in sorted(whole.values(), key=lambda i: i.key)]
        return recorded.source == self.uri and now == [(f.path, f.size, f.tag) for f in recorded.files]

    def _may_have_companions(self) -> bool:
        return self.layout != "MSD" and any(
            reader.may_have_companions(str(self.described.get("file_ending"))) for reader in readers_of(self.described)
        )

    def refuse_changes(self, dataset: Artifact) -> SourceFiles:
        """Compare with what was read when the dataset was verified; where only a tag differs, the content decides.

        Raises:
            BadData: `DatasetChanged`, naming the files.
        """
        recorded = recorded_files(dataset)
        listing = self.with_companions({info.key: info for info in self._list()}, recorded.companions or {})
        known = {f.path: f for f in recorded.files}
        changed = [f"{path}: gone" for path in known if path not in listing]
        changed += [f"{path}: new" for path in listing if path not in known]
        for path, file in known.items():
            info = listing.get(path)
            if info is None:
                continue
            if info.size != file.size:
                changed.append(f"{path}: {info.size} bytes, it had {file.size}")
                continue
            other_tag = info.tag != file.tag or recorded.source != self.uri
            if other_tag and digests.of_file(self.stage([path]) / path) != file.sha256:
                changed.append(f"{path}: another content")
        if changed:
            count = "1 file" if len(changed) == 1 else f"{len(changed)} files"
            raise BadData(
                "DatasetChanged",
                f"{count} of {self.uri} changed after the dataset was read",
                findings=changed,
                hint="Restore them, or give the Dataset a new spec.rerun, which reads it again.",
            )
        return recorded


def recorded_files(dataset: Artifact) -> SourceFiles:
    """files.json of a dataset's artifact."""
    return codec.loads(SourceFiles, dataset.read(FILES))


def case_files(described: dict[str, Any], layout: str, paths: Iterable[str]) -> dict[str, list[str]]:
    """The files of each case, its images and its label.

    Args:
        described: the source's dataset.json.
        layout: nnUNetV2 or MSD.
        paths: all files, where the layout goes by their names.
    """
    if layout == "MSD":
        return {entry.case: [entry.image, entry.label] for entry in msd_description.entries(described)}
    if isinstance(described.get("dataset"), dict):
        cases, there = described["dataset"], set(paths)

        def normal(text: str) -> str:
            return posixpath.normpath(as_written(text, lambda path: posixpath.normpath(path) in there))

        return {name: [normal(p) for p in [*case["images"], case["label"]]] for name, case in cases.items()}
    ending = re.escape(described["file_ending"])
    image, label = re.compile(rf"imagesTr/([^/]+)_\d{{4}}{ending}"), re.compile(rf"labelsTr/([^/]+){ending}")
    found: dict[str, list[str]] = {}
    labels = []
    for path in sorted(paths):
        if match := image.fullmatch(path):
            found.setdefault(match[1], []).append(path)
        elif match := label.fullmatch(path):
            labels.append((match[1], path))
    for case, path in labels:
        if case in found:
            found[case].append(path)
    return found
