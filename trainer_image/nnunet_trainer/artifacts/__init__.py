"""Artifacts in an object store: S3, a directory or a mounted volume, behind one protocol."""

from .opening import open_store
from .store import ObjectInfo, ObjectStore

__all__ = ["ObjectInfo", "ObjectStore", "open_store"]
