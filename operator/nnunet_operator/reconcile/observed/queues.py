"""What a Job waits for that its queue has suspended, in Kueue's own words where its Workload can be read."""

from __future__ import annotations

from typing import Any

from ...api.conditions import condition_of
from ...manifests import names
from ..view import Manifest

LONGEST = 600
"""Characters of what Kueue says that are shown."""


def explain(job: Manifest, workload: Manifest | None) -> str:
    """A clause: in which queue a suspended Job waits, and what for.

    Args:
        job: the Job.
        workload: Kueue's Workload of that Job, or None when it cannot be read.
    """
    queue = (job["metadata"].get("labels") or {}).get(names.QUEUE)
    if not queue:
        return "waits: somebody has suspended its Job (its spec.suspend is true, and it is in no queue)"
    said = _said(workload) if workload is not None else ""
    return f"waits in queue {queue}" + (f": {said[:LONGEST]}" if said else "")


def _said(workload: Manifest) -> str:
    """Why a Workload is not admitted, or nothing."""
    if (workload.get("spec") or {}).get("active") is False:
        return " ".join(filter(None, ("its Workload is deactivated.", _message(workload, "Evicted", "True"))))
    if condition_of(workload, "QuotaReserved", "True"):
        waiting = "; ".join(_check(check) for check in _checks(workload) if check.get("state") != "Ready")
        return f"its quota is reserved; it waits for {waiting}" if waiting else "its quota is reserved"
    return _message(workload, "QuotaReserved", "False") or _message(workload, "Evicted", "True")


def _message(workload: Manifest, kind: str, status: str) -> str:
    return " ".join(str((condition_of(workload, kind, status) or {}).get("message") or "").split())


def _checks(workload: Manifest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (workload.get("status") or {}).get("admissionChecks") or []
    return found


def _check(check: dict[str, Any]) -> str:
    said = " ".join(str(check.get("message") or check.get("state") or "").split())
    return f"the admission check {check.get('name')}" + (f" ({said})" if said else "")
