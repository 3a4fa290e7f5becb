"""The four kinds, and how a manifest is read."""

from __future__ import annotations

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

    Fields that this version does not know are kept, in spec and status. A spec's known fields must fit; of status, what cannot be
    read is left out: it is ours to write again.

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
            broken = {item["loc"][1] for item in error.errors() if len(item["loc"]) > 1}
            kept = {key: value for key, value in status.items() if key not in broken} if isinstance(status, dict) else {}
            return parse({**manifest, "status": kept if broken else {}})
        name = (manifest.get("metadata") or {}).get("name", "")
        findings = [
            f"{_path(item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
            if item["loc"][:1] != ("status",)
        ]
        raise BadUsage("InvalidSpec", f"{kind} {name} does not fit the schema of {API_VERSION}.", findings=findings) from error
    return resource


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
