"""Where things lie and how they are reached, as a work order says it."""

from __future__ import annotations

from dataclasses import replace

from nnunet_trainer.contract.work_order import Input, Location

from ..api import reasons
from ..api.common import ArtifactStatus, LocationStatus
from ..api.dataset import Dataset
from ..api.fields.uris import Access, StorageSpec
from ..api.resources import Resource
from .blocker import Blocker
from .view import Settings

ACCESS = ("endpoint", "region", "path_style", "secret_name", "ca_config_map")
"""All of a `Location` but its URI."""


def at(uri: str, access: Access | LocationStatus | Location) -> Location:
    """A URI that is reached in this way."""
    return Location(uri=uri, **{name: getattr(access, name) for name in ACCESS})


def artifact(made: ArtifactStatus, access: LocationStatus | Location) -> Input:
    """An artifact of another step that is reached in this way."""
    return Input(location=at(made.uri, access), digest=made.digest)


def status(place: Location) -> LocationStatus:
    """A location as it stands in a status, for those who read what lies there."""
    return LocationStatus(uri=place.uri, **{name: getattr(place, name) for name in ACCESS})


def storage(resource: Resource, settings: Settings) -> Location | Blocker:
    """Where an object's artifacts go: its own spec.storage, else the operator's default for its namespace, else for all."""
    default = settings.namespace_storage.get(resource.metadata.namespace, settings.storage)
    spec: StorageSpec | None = resource.spec.storage or default
    if spec is None:
        message = (
            "has no spec.storage, and the operator has no default storage. Set spec.storage.uri (s3://bucket/prefix) with its "
            "endpoint and secretName, or give the operator a default (chart value: storage)."
        )
        return Blocker(reasons.NO_STORAGE, message)
    return at(spec.uri, spec)


def source(dataset: Dataset, store: Location) -> Location:
    """Where raw data lies. Without an endpoint, a Secret or a CA of its own, it is reached as the storage is."""
    return inherit(at(dataset.spec.source.uri, dataset.spec.source), store)


def inherit(place: Location, store: Location) -> Location:
    """A place in the storage's own bucket is reached as the storage is, in all that it does not say itself.

    Elsewhere in the same kind of store, only a place that says nothing is. One with an endpoint of its own never is: no Secret goes
    to a server that it was not meant for.
    """
    says = any(getattr(place, name) is not None for name in ACCESS)
    same = place.uri.partition("://")[0] == store.uri.partition("://")[0]
    if same and not says:
        return at(place.uri, store)
    if _bucket(place) == _bucket(store) and place.endpoint is None:
        return replace(place, **{name: getattr(store, name) for name in ACCESS if getattr(place, name) is None})
    return place


def _bucket(place: Location) -> list[str]:
    return place.uri.split("/", 3)[:3]
