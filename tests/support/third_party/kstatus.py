"""How Flux and others read an object of a kind that they do not know: `Compute` of sigs.k8s.io/cli-utils/pkg/kstatus/status."""

from __future__ import annotations

from ..apiclient import Manifest


def compute(manifest: Manifest) -> str:
    """`Current`, `InProgress`, `Failed` or `Terminating`."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata.get("generation"):
        return "InProgress"
    conditions = status.get("conditions") or []
    for condition in conditions:  # the first that decides
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            return "InProgress"
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return "Failed"
    ready = next((condition["status"] for condition in conditions if condition["type"] == "Ready"), None)
    return "InProgress" if ready in ("False", "Unknown") else "Current"
