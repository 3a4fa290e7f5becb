"""Artifacts in an object store: S3, a directory or a mounted volume, behind one protocol."""

from .store import ObjectInfo, ObjectStore, open_store

__all__ = ["ObjectInfo", "ObjectStore", "open_store"]
