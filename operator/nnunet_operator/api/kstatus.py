"""How an object stands, computed from its conditions as kstatus (sigs.k8s.io/cli-utils/pkg/kstatus) does."""

from __future__ import annotations

from enum import Enum
from typing import Any

from . import reasons
from .conditions import READY, STALLED, condition_of

Manifest = dict[str, Any]


class Status(Enum):
    """kstatus' words for what may still become of an object by itself, and one of ours."""

    IN_PROGRESS = "InProgress"
    CURRENT = "Current"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    """A person suspended it; for kstatus it is in progress."""


def compute(manifest: Manifest) -> Status:
    """How an object stands; a spec that nobody has looked at yet is in progress."""
    status = manifest.get("status") or {}
    if status.get("observedGeneration") != manifest["metadata"].get("generation"):
        return Status.IN_PROGRESS
    if condition_of(manifest, STALLED, "True"):
        return Status.FAILED
    if condition_of(manifest, READY, "True"):
        return Status.CURRENT
    if manifest["spec"].get("suspend") and reason(manifest)[0] == reasons.SUSPENDED:
        return Status.SUSPENDED
    return Status.IN_PROGRESS


def reason(manifest: Manifest) -> tuple[str, str]:
    """Reason and message of `Ready`; empty where there is none yet."""
    ready = condition_of(manifest, READY)
    return ready.get("reason", ""), ready.get("message", "")
