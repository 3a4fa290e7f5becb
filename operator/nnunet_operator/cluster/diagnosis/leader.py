"""Whether an operator is at work: who holds the Lease, since when, and whether it is renewed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..api.client import Api
from ..api.errors import ApiError
from ..api.kinds import KINDS
from .findings import Finding, Level
from .times import ago, parsed

CHECK = "operator"
RUN = "Look at its Deployment and its log: kubectl -n {0} get deployments,pods; kubectl -n {0} logs deployment/nnunet-operator"


async def check(api: Api, namespace: str, name: str, now: datetime | None = None) -> Finding:
    """Who leads.

    Args:
        namespace: of the Lease: the operator's own.
        name: of the Lease.
    """
    about, hint = f"lease {namespace}/{name}", RUN.format(namespace)
    try:
        lease = await api.get(KINDS["Lease"], namespace, name)
    except ApiError as error:
        if error.code != 403:
            raise
        return Finding(check=CHECK, level=Level.UNKNOWN, about=about, message="this user may not read it")
    if lease is None:
        message = "there is none: no operator with leader election has run in this namespace"
        elsewhere = "Name the operator's own namespace with --lease-namespace, or install it."
        return Finding(check=CHECK, level=Level.PROBLEM, about=about, message=message, hint=elsewhere)
    return judged(lease.get("spec") or {}, about, hint, now or datetime.now(UTC))


def judged(spec: dict[str, Any], about: str, hint: str, now: datetime) -> Finding:
    """What a Lease says at a moment."""
    holder, renewed, taken = spec.get("holderIdentity"), parsed(spec.get("renewTime")), parsed(spec.get("acquireTime"))
    if not holder:
        since = f" since {ago(now, renewed)}" if renewed else ""
        return Finding(
            check=CHECK, level=Level.PROBLEM, about=about, message=f"nobody holds it{since}: no operator runs", hint=hint
        )
    silence = (now - renewed).total_seconds() if renewed else float("inf")
    if silence > (spec.get("leaseDurationSeconds") or 15):
        last = f"renewed it last {ago(now, renewed)} ago" if renewed else "never renewed it"
        return Finding(check=CHECK, level=Level.PROBLEM, about=about, message=f"{holder} {last}: no operator leads", hint=hint)
    held = f"held by {holder} for {ago(now, taken)}" if taken else f"held by {holder}"
    changes = spec.get("leaseTransitions") or 0
    times = {0: "never changed hands", 1: "changed hands once"}.get(changes, f"changed hands {changes} times")
    return Finding(check=CHECK, level=Level.OK, about=about, message=f"{held}; it {times}")
