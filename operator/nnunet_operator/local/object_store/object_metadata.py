"""What an API server writes into an object's metadata, and what it reads there."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from ...api.base import format_time
from ...manifests import names

Manifest = dict[str, Any]


def of_new_object() -> Manifest:
    """The metadata that an object gets when it is created."""
    return {"uid": str(uuid.uuid4()), "creationTimestamp": moment(0), "generation": 1}


def moment(seconds: int) -> str:
    """The time in so many seconds: a pod's deletionTimestamp is when its grace ends."""
    return format_time(datetime.now(UTC) + timedelta(seconds=seconds))


def grace_seconds(pod: Manifest) -> int:
    """What a pod gets to end; none where nothing of it runs."""
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return int(pod["spec"].get("terminationGracePeriodSeconds", 30)) if pod["spec"].get("nodeName") and not ended else 0


def applied_by(live: Manifest, manager: str) -> Manifest:
    """What a manager applied last."""
    entries = live["metadata"].get("managedFields", [])
    return next((entry["applied"] for entry in entries if entry["manager"] == manager), {})


def owner_uids(manifest: Manifest) -> set[str]:
    """The objects that an object belongs to, by references and by its label."""
    meta = manifest["metadata"]
    label = meta.get("labels", {}).get(names.OWNER_UID)
    return {reference["uid"] for reference in meta.get("ownerReferences", [])} | ({label} if label else set())


def age(manifest: Manifest) -> tuple[str, str, str]:
    """Orders objects: the oldest first."""
    meta = manifest["metadata"]
    return meta["creationTimestamp"], meta["namespace"], meta["name"]


def title(manifest: Manifest) -> str:
    """`KIND namespace/name`, for messages."""
    return f"{manifest['kind']} {manifest['metadata'].get('namespace', 'default')}/{manifest['metadata']['name']}"
