"""The four kinds, and how a manifest is read."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, unknown_name
from pydantic import ValidationError

from .base import API_VERSION, GROUP, VERSION, Metadata, OwnerReference, Resource
from .dataset import Dataset
from .plan_transfer import PlanTransfer
from .plans import Plans
from .training_run import TrainingRun

__all__ = [
    "API_VERSION",
    "CATEGORY",
    "GROUP",
    "KINDS",
    "PLURALS",
    "VERSION",
    "Dataset",
    "Metadata",
    "OwnerReference",
    "PlanTransfer",
    "Plans",
    "Resource",
    "TrainingRun",
    "kind_of",
    "parse",
]

CATEGORY = "nnunet"

FieldPath = tuple[int | str, ...]
"""Of a field of a manifest: names of fields, places in lists."""

KINDS: dict[str, type[Resource]] = {"Dataset": Dataset, "Plans": Plans, "PlanTransfer": PlanTransfer, "TrainingRun": TrainingRun}
"""By kind, in the order of a pipeline."""

PLURALS: dict[str, str] = {kind: model.plural for kind, model in KINDS.items()}


def kind_of(word: str) -> str:
    """The kind that a person means: `nnrun`, `trainingruns`, `trainingrun`, `TrainingRun`, with or without the group.

    Raises:
        BadUsage: no kind of ours is named so.
    """
    plain = word.lower().removesuffix(f".{GROUP}")
    for kind, model in KINDS.items():
        if plain in (kind.lower(), model.plural, model.short_name):
            return kind
    names = [name for kind, model in KINDS.items() for name in (kind.lower(), model.plural, model.short_name)]
    raise BadUsage("UnknownKind", unknown_name("kind", word, set(names)))


def parse(manifest: dict[str, Any]) -> Resource:
    """Read an object of one of the four kinds.

    Fields that this version does not know are kept, in spec and status. A spec's known fields must fit. Of status, what cannot be
    read is left out, and no more than that: it is ours to write again, but what stands beside it says what is done already.

    Raises:
        BadUsage: another kind or version, or a spec that does not fit; one finding a field.
    """
    kind, version = manifest.get("kind"), manifest.get("apiVersion")
    if version != API_VERSION or kind not in KINDS:
        expected = f"{', '.join(KINDS)} of {API_VERSION}"
        raise BadUsage("UnknownKind", f"{version or 'no apiVersion'} {kind or 'no kind'} is none of ours: {expected}.")
    model = KINDS[kind]
    status = manifest.get("status")
    try:
        resource = model.model_validate({**manifest, "status": status if isinstance(status, dict) else {}})
    except ValidationError as error:
        if all(item["loc"][:1] == ("status",) for item in error.errors()):
            return parse({**manifest, "status": _without(status, [item["loc"][1:] for item in error.errors()])})
        name = (manifest.get("metadata") or {}).get("name", "")
        findings = [
            f"{_path(item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
            if item["loc"][:1] != ("status",)
        ]
        raise BadUsage("InvalidSpec", f"{kind} {name} does not fit the schema of {API_VERSION}.", findings=findings) from error
    return resource


def _without(status: Any, unreadable: Iterable[FieldPath]) -> dict[str, Any]:
    """A status without what cannot be read: another version's longer text, or a part that lacks what this version needs."""
    kept: dict[str, Any] = copy.deepcopy(status) if isinstance(status, dict) else {}
    places = {_place(kept, location) for location in unreadable}
    if () in places:
        return {}
    # The last items of lists first: those before them keep their places.
    for place in sorted(places, key=lambda place: [-step for step in place if isinstance(step, int)]):
        if not any(place[:length] in places for length in range(1, len(place))):
            holder: Any = kept
            for step in place[:-1]:
                holder = holder[step]
            del holder[place[-1]]
    return kept


def _place(value: Any, location: FieldPath) -> FieldPath:
    """As much of a location as is there: not a field that is missing, nor the name of a check."""
    for length, step in enumerate(location):
        if not (step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value))):
            return location[:length]
        value = value[step]
    return location


def _path(location: FieldPath) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
