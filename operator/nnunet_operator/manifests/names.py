"""Names and labels of children: deterministic, with the owner's uid, so that nothing is ever made twice or mistaken."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Any

from ..api.fields.own_keys import QUEUE_LABEL
from ..api.resources import Resource

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "nnunet-operator"
OWNER_KIND = "nnunet.dev/owner-kind"
OWNER_NAME = "nnunet.dev/owner-name"
OWNER_UID = "nnunet.dev/owner-uid"
STEP = "nnunet.dev/step"
CONFIGURATION = "nnunet.dev/configuration"
FOLD = "nnunet.dev/fold"
ATTEMPT = "nnunet.dev/attempt"
CONTRACT = "nnunet.dev/contract-version"
STORAGE_URI = "nnunet.dev/storage-uri"
"""An annotation of a Job: the storage of its order, below which all that it makes lies."""
SEED = "nnunet.dev/seed"
"""An annotation of a training's Job: its seed, should the status that keeps it not be written."""
PLUGIN_DIGESTS = "nnunet.dev/plugin-digests"
"""An annotation of a training's Job: its plug-ins' digests by ConfigMap, as JSON, should the status not be written."""
RESULTS_FINALIZER = "nnunet.dev/results"
"""Holds a TrainingRun with `retention: Delete` until its results are deleted."""
QUEUE = QUEUE_LABEL
JOB_NAME = "batch.kubernetes.io/job-name"
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""The Job controller's own, on pods."""

# A pod of an Indexed Job has the host name `<job>-<index>`, at most 63 characters; an index has at most 3 digits here.
LONGEST = 63 - len("-999")

_ATTEMPT_AT_END = re.compile(r"-([0-9]{1,9})$")


def job(owner: Resource, part: str, attempt: int) -> str:
    """`<name>-<6 of uid>-<part>-<attempt>`, where a part that is too long is shortened to a digest."""
    return _job(owner.metadata.name, owner.metadata.uid, part, attempt)


def attempt_of(owner: Resource, part: str, job_name: str) -> int | None:
    """The number of the attempt whose Job bears this name, or None when no Job of this part of the owner's does."""
    found = _ATTEMPT_AT_END.search(job_name)
    return int(found[1]) if found and job(owner, part, int(found[1])) == job_name else None


@lru_cache(maxsize=8192)
def _job(name: str, uid: str, part: str, attempt: int) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")
    stem, end = f"{name}-{short_uid(uid)}", f"-{attempt}"
    # A digest also where the slug has lost something: `a_b` and `a-b` are two configurations.
    if len(f"{stem}-{slug}{end}") > LONGEST or (slug != part and slug != part.replace("_", "-")) or "-" in part:
        room = LONGEST - len(stem) - len(end) - 1
        slug = hashlib.sha256(part.encode()).hexdigest()[: min(6, room)]
    return f"{stem}-{slug}{end}"


def job_prefix(name: str, uid: str) -> str:
    """With what the names of all Jobs of an object begin."""
    return f"{name}-{short_uid(uid)}-"


def short_uid(uid: str) -> str:
    """Six characters of an object's uid."""
    return uid.replace("-", "")[:6].lower()


def config_map(job_name: str, text: str) -> str:
    """A work order's ConfigMap bears a digest of its content: an immutable object is never to be applied with another."""
    return f"{job_name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


_DIGEST = re.compile("[0-9a-f]{8}")


def is_config_map_of(job_name: str, name: str) -> bool:
    """Whether a name is one that `config_map` makes for this Job."""
    return name.startswith(f"{job_name}-") and _DIGEST.fullmatch(name, len(job_name) + 1) is not None


def labels(owner: Resource, step: str, **more: str | int | None) -> dict[str, str]:
    """The labels of a child. `more`: configuration, fold, attempt."""
    fixed = {
        MANAGED_BY: MANAGER,
        OWNER_KIND: owner.kind,
        OWNER_NAME: owner.metadata.name,
        OWNER_UID: owner.metadata.uid,
        STEP: step,
    }
    return fixed | {f"nnunet.dev/{name}": str(value) for name, value in more.items() if value is not None}


def owner_reference(owner: Resource) -> dict[str, Any]:
    """The reference by which a child goes when its owner goes."""
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
    }
