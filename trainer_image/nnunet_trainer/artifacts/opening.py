"""From a URI to the store behind it. boto3 is imported only where a URI is of S3."""

from __future__ import annotations

from ..contract.work_order import Location
from . import location as locations
from .store import ObjectStore


def open_store(location: Location) -> ObjectStore:
    """The store at a location. Nothing is contacted yet.

    Raises:
        BadConfiguration: an unusable URI, a Secret or a CA that is not there.
    """
    address = locations.parse(location.uri)
    if address.scheme == "s3":
        from .s3 import S3Store

        return S3Store(location, address)
    from .directory import DirectoryStore

    return DirectoryStore(location.uri, address)


def open_file(location: Location) -> tuple[ObjectStore, str]:
    """The store of a location that names one file, and the file's key in it."""
    folder, name = locations.split_file(location)
    return open_store(folder), name
