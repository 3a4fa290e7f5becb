"""Copies of artifacts on a volume that many pods mount (`template.datasetCache`): read where they are whole, else the store is.

`s3://bucket/prefix/…` lies in it as `bucket/prefix/…`, as `aws s3 sync` or `rclone sync` of a prefix makes it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

from ..contract import pod, uri
from ..contract.json_text import codec
from ..contract.keys import MANIFEST

M = TypeVar("M")

log = logging.getLogger(__name__)


def folder_of(artifact_uri: str, manifest: M) -> Path | None:
    """The folder with the copy of an artifact, or None when there is none.

    A copy counts when its manifest says what the store's does: the sizes and digests of its files, and what it was made of. Its
    files may be there or not.

    Args:
        artifact_uri: where the artifact lies in its store; only an object store's are copied.
        manifest: as it stands in the store.
    """
    cache = pod.dataset_cache()
    address = uri.parse(artifact_uri)
    if cache is None or address.scheme != "s3":
        return None
    folder = cache / address.authority / address.path
    try:
        copied = codec.loads(type(manifest), (folder / MANIFEST).read_bytes())
    except (OSError, codec.CodecError):
        return None
    if copied != manifest:
        log.warning("The dataset cache holds another %s than the store: it is not used.", artifact_uri)
        return None
    return folder


def file_in(folder: Path | None, path: str, size: int) -> Path | None:
    """A file of a copy, or None when it is not there as a whole."""
    if folder is None:
        return None
    found = folder / path
    try:
        return found if found.is_file() and found.stat().st_size == size else None
    except OSError:
        return None
