"""An artifact: parts under one prefix, and a manifest that names them all; found, checked and read."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..contract.faults import BadData
from ..contract.json_text import codec
from ..contract.keys import MANIFEST
from . import dataset_cache, digests
from .digests import FileEntry
from .parallel import for_each
from .store import ObjectNotFound, ObjectStore

FORMAT = 1
REMAKE = (
    "delete the Plans or TrainingRun that made it and apply it again (a Dataset: give it a new spec.rerun): what is missing "
    "is made anew. After that, set spec.rerun of what failed to a new value."
)
"""Ends a hint. A new spec.rerun would leave Plans and runs alone that are Ready."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a whole artifact holds. `digest` is that of its inputs; `summary` is what its report says."""

    kind: str
    digest: str
    format: int = FORMAT
    files: list[FileEntry] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)


class Artifact:
    """A whole artifact, to be read.

    Args:
        store: rooted at the artifact itself or above it.
        prefix: the artifact's key in the store; "" when the store is rooted at it.
    """

    def __init__(self, store: ObjectStore, prefix: str, manifest: Manifest) -> None:
        self.store = store
        self.prefix = prefix
        self.manifest = manifest
        self.files = {f.path: f for f in manifest.files}

    @property
    def uri(self) -> str:
        return self.store.uri(self.prefix)

    def key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def read(self, path: str) -> bytes:
        """One small file, checked.

        Raises:
            BadData: the manifest does not name it, or what is there is something else.
        """
        wanted = self._entry(path)
        data = self.store.get(self.key(path))
        if len(data) != wanted.size or digests.of_bytes(data) != wanted.sha256:
            raise _damaged(self.uri, path, wanted, len(data))
        return data

    def read_json(self, path: str) -> Any:
        return json.loads(self.read(path))

    def fetch(
        self,
        paths: Iterable[str],
        folder: Path,
        *,
        name: Callable[[str], str] = lambda p: p,
        fetched: Callable[[str], None] | None = None,
    ) -> None:
        """Bring files into `folder`, in parallel; those of a mounted store, and of the dataset cache, are linked, not copied.

        What is there already stays.

        Args:
            paths: which of the artifact's files.
            folder: where to.
            name: the path below `folder` for a path of the artifact.
            fetched: called after each file, from several threads.

        Raises:
            BadData: a file that the manifest does not name, or whose size or content is not what it says.
        """

        copies = dataset_cache.folder_of(self.uri, self.manifest)

        def bring(path: str) -> None:
            wanted, target = self._entry(path), folder / name(path)
            cached = dataset_cache.file_in(copies, path, wanted.size)
            if cached is not None and not target.exists():
                _link(cached, target)
            bring_file(self.store, self.key(path), wanted, target, self.uri)
            if fetched:
                fetched(path)

        for_each(paths, bring)

    def _entry(self, path: str) -> FileEntry:
        if path not in self.files:
            raise BadData(
                "ArtifactIncomplete",
                f"{self.uri} holds no {path}: it was made by another version.",
                hint=f"Delete that prefix, then {REMAKE}",
            )
        return self.files[path]


def bring_file(store: ObjectStore, key: str, wanted: FileEntry, target: Path, whose: str, *, thorough: bool = False) -> None:
    """One file into scratch, where it must have the size and the content that `wanted` says.

    A mounted file is linked, and only its size compared: that tells a torn copy, and all data need not be read twice. `thorough`
    reads its content too.
    """
    if (
        target.is_file()
        and target.stat().st_size == wanted.size
        and (target.is_symlink() or digests.of_file(target) == wanted.sha256)
    ):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    local = store.local_path(key)
    if local is None:
        store.get_file(key, target)
        if target.stat().st_size != wanted.size or digests.of_file(target) != wanted.sha256:
            size = target.stat().st_size
            target.unlink()
            raise _damaged(whose, wanted.path, wanted, size)
        return
    info = store.stat(key)
    if info is None:
        raise ObjectNotFound(store.uri(key))
    if info.size != wanted.size or (thorough and digests.of_file(local) != wanted.sha256):
        raise _damaged(whose, wanted.path, wanted, info.size)
    _link(local, target)


def _link(local: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.exists():
        target.unlink()
    try:
        os.symlink(local.resolve(), target)
    except FileExistsError:
        pass
    except OSError:
        shutil.copyfile(local, target)


def find(store: ObjectStore, prefix: str = "") -> Artifact | None:
    """The artifact under a prefix, or None when there is no whole one.

    Raises:
        BadData: a manifest that cannot be read.
    """
    key = f"{prefix}/{MANIFEST}" if prefix else MANIFEST
    try:
        text = store.get(key)
    except ObjectNotFound:
        return None
    hint = f"Delete that file, then {REMAKE}"
    try:
        manifest = codec.loads(Manifest, text)
    except codec.CodecError as error:
        raise BadData("ArtifactDamaged", f"{store.uri(key)} cannot be read: {error}.", hint=hint) from error
    if manifest.format != FORMAT:
        message = f"{store.uri(key)} is of format {manifest.format}, this trainer knows {FORMAT}."
        raise BadData("ArtifactFormat", message, hint="Use the trainer that wrote it, or a new prefix.")
    return Artifact(store, prefix, manifest)


def damaged(found: Artifact) -> list[str]:
    """The files of an artifact that are not there, or have another size than its manifest says. Nothing is read."""
    below = f"{found.prefix}/" if found.prefix else ""
    sizes = {info.key: info.size for info in found.store.list(below)}
    return [path for path, entry in found.files.items() if sizes.get(found.key(path)) != entry.size]


def find_whole(store: ObjectStore, prefix: str) -> Artifact | None:
    """The artifact under a prefix if its files are there. One with damaged files is withdrawn, so that it is made again.

    Raises:
        BadData: a manifest that cannot be read.
    """
    found = find(store, prefix)
    if found is not None and (files := damaged(found)):
        withdraw(found, files)
        return None
    return found


def withdraw(found: Artifact, files: Sequence[str]) -> None:
    """Delete an artifact's manifest: these files are not as it says, so it is to be made again."""
    log.warning("%s is made again: %d of %d files are damaged or missing, %s.", found.uri, len(files), len(found.files), files[0])
    found.store.delete(found.key(MANIFEST))


def require(store: ObjectStore, kind: str, digest: str | None = None, prefix: str = "") -> Artifact:
    """The artifact under a prefix, which must be whole, of this kind and made from these inputs.

    Raises:
        BadData: it is not.
    """
    found = find(store, prefix)
    if found is None:
        hint = f"The step that makes it has not finished, or its files were deleted: {REMAKE}"
        raise BadData("ArtifactIncomplete", f"{store.uri(prefix)} has no {MANIFEST}: there is no whole {kind} there.", hint=hint)
    manifest = found.manifest
    if manifest.kind != kind or (digest is not None and manifest.digest != digest):
        message = f"{found.uri} holds {manifest.kind} {manifest.digest[:16]}, expected was {kind} {(digest or '')[:16]}."
        raise BadData("ArtifactMismatch", message)
    return found


def _damaged(uri: str, path: str, wanted: FileEntry, size: int) -> BadData:
    found = f"{size} bytes" if size != wanted.size else "another content"
    message = f"{uri}: {path} has {found}; its manifest says {wanted.size} bytes, sha256 {wanted.sha256[:16]}…."
    return BadData("ArtifactDamaged", message, hint=f"Delete that file, then {REMAKE}")
