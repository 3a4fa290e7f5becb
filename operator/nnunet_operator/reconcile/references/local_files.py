"""`file:` URIs, which name a folder of one machine: pods of a cluster do not share it."""

from __future__ import annotations

from nnunet_trainer.contract import uri

from ...api import reasons
from ...api.resources import Dataset, Resource, TrainingRun
from ..blocker import Blocker
from ..view import Settings


def blocker(resource: Resource, settings: Settings) -> Blocker | None:
    """Why an object with such a URI never starts on a cluster; None where there is none, and in the local shell."""
    if settings.local_files:
        return None
    found = [f"{field} ({text})" for field, text in _uris(resource) if uri.to_path(text) is not None]
    if not found:
        return None
    return Blocker(
        reasons.LOCAL_FILE,
        f"{', '.join(found)}: file:// names a folder of one machine, which only the local shell can read (nnunet-operator local). "
        f"Delete this {resource.kind} and create it with s3://bucket/prefix or pvc://claim/path.",
    )


def _uris(resource: Resource) -> list[tuple[str, str]]:
    """The URIs that an object's spec holds, by field."""
    spec = resource.spec
    found = {"spec.storage.uri": spec.storage.uri if spec.storage else None}
    match resource:
        case Dataset():
            found["spec.source.uri"] = spec.source.uri
        case TrainingRun():
            found["spec.pretrained.uri"] = spec.pretrained.uri if spec.pretrained else None
    return [(field, text) for field, text in found.items() if text is not None]
