"""Whose child an object is: by its controller reference, in its owner's namespace.

Labels are for finding. Anybody who may write an object anywhere can put any label on it; an owner reference counts for
Kubernetes' garbage collector only within a namespace, and of several owners one alone is the controller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..api.resources import GROUP

JOBS = "batch"
"""The API group of Jobs."""


def controller_of(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The owner reference that is marked as the controller, or None."""
    owners = manifest["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if isinstance(owner, dict) and owner.get("controller") is True), None)


def is_controlled_by(child: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether an object is a child of this very owner: same namespace, API group, kind, name and uid."""
    reference, meta = controller_of(child), owner["metadata"]
    return (
        reference is not None
        and bool(meta.get("uid"))
        and child["metadata"].get("namespace") == meta.get("namespace")
        and _group(reference) == _group(owner)
        and (reference.get("kind"), reference.get("name"), reference.get("uid")) == (owner["kind"], meta["name"], meta["uid"])
    )


def controlling_job(pod: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and uid of the Job that controls a pod, or None when no Job does."""
    reference = controller_of(pod)
    if reference is None or reference.get("kind") != "Job" or _group(reference) != JOBS:
        return None
    return str(reference.get("name")), str(reference.get("uid"))


def controlling_resource(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """Kind and name of the object of our API group that controls a child, or None when none does."""
    reference = controller_of(manifest)
    if reference is None or _group(reference) != GROUP:
        return None
    return str(reference.get("kind")), str(reference.get("name"))


def _group(manifest: Mapping[str, Any]) -> str:
    # Without the version: a reference outlives a new version of its owner's kind.
    return str(manifest.get("apiVersion")).rpartition("/")[0]
