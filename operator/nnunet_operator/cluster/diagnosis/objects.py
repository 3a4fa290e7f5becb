"""Objects that do not go on: with the reason, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ...api import kstatus, reasons
from ...api.conditions import FIELDS_IGNORED, READY, condition_of
from ...controller.object_client import key_of
from ...inspection import remedies
from ...reconcile.view import Manifest
from ..api.client import Api
from ..api.errors import ApiError
from ..api.kinds import OURS
from .findings import Finding, Level
from .times import ago, parsed

CHECK = "objects"
NOBODY = timedelta(minutes=1)
"""An operator looks at a new object at once."""

AT_WORK = frozenset(
    {
        *(reasons.VERIFYING, reasons.FINGERPRINTING, reasons.PLANNING, reasons.TRANSFERRING, reasons.PREPROCESSING),
        *(reasons.TRAINING, reasons.VALIDATING),
    }
)
"""What may take as long as it likes."""


async def check(api: Api, namespaces: tuple[str, ...], patience: timedelta, now: datetime | None = None) -> list[Finding]:
    """One finding an object that does not go on, and one line of all.

    Args:
        namespaces: empty: all.
        patience: how long an object may wait for the same thing.
    """
    now, found, total = now or datetime.now(UTC), list[Finding](), 0
    for kind in OURS.values():
        for scope in namespaces or (None,):
            try:
                async for page in api.pages(kind, scope):
                    total += len(page["items"])
                    for item in page["items"]:
                        found += findings({**item, "apiVersion": kind.api_version, "kind": kind.kind}, patience, now)
            except ApiError as error:
                if error.code not in (403, 404):  # 404: the kind is not served, which is said by another check
                    raise
                if error.code == 403:
                    where = f"{kind.plural} in {scope or 'all namespaces'}"
                    found.append(_finding(Level.UNKNOWN, where, "this user may not list them", "Name namespaces with --namespace."))
    stuck = sum(finding.level is not Level.UNKNOWN for finding in found)
    summary = f"{total} objects, {stuck} {'finding' if stuck == 1 else 'findings'}"
    return [_finding(Level.OK, f"in {', '.join(namespaces) or 'all namespaces'}", summary), *found]


def findings(manifest: Manifest, patience: timedelta, now: datetime) -> Iterator[Finding]:
    """What is wrong with one object at a moment."""
    meta, about = manifest["metadata"], str(key_of(manifest))
    ready, made = condition_of(manifest, READY), parsed(meta.get("creationTimestamp")) or now
    if (deleted := parsed(meta.get("deletionTimestamp"))) is not None:
        if now - deleted > patience:
            holds = ", ".join(meta.get("finalizers") or ()) or "its children"
            text = f"it is being deleted for {ago(now, deleted)}; {holds} hold it"
            yield _finding(Level.PROBLEM, about, text, "Whoever set the finalizer must be at work; is the operator?")
        return
    if ignored := condition_of(manifest, FIELDS_IGNORED, "True"):
        yield _finding(Level.WARNING, about, ignored.get("message", ""), "Upgrade the operator, or remove the fields.")
    observed, generation = (manifest.get("status") or {}).get("observedGeneration"), meta.get("generation")
    if observed is None and now - made > NOBODY:
        hint = f"Does an operator run, and does it work in namespace {meta['namespace']} (the chart's watchNamespaces)?"
        yield _finding(Level.PROBLEM, about, f"no operator has looked at it in {ago(now, made)}", hint)
        return
    reason, message = ready.get("reason", ""), ready.get("message", "")
    text, hint = f"{reason}: {message}", remedies.advice(reason)
    match kstatus.compute(manifest):
        case kstatus.Status.FAILED:
            yield _finding(Level.PROBLEM, about, text, hint or "It does not go on by itself: do what the message says.")
        case kstatus.Status.IN_PROGRESS if observed != generation and observed is not None:
            if (since := _newest(manifest)) is not None and now - since > patience:
                said = f"its spec was changed, and no operator has looked at it since {ago(now, since)}"
                yield _finding(Level.WARNING, about, said, "Does an operator run?")
        case kstatus.Status.IN_PROGRESS if reason not in AT_WORK:
            since = parsed(ready.get("lastTransitionTime")) or made
            if now - since > patience:
                said = f"not Ready for {ago(now, since)}, now {text}"
                yield _finding(
                    Level.WARNING, about, said, hint or f"kubectl nnunet why {meta['name']}; or kubectl describe it, and its pods."
                )


def _newest(manifest: Manifest) -> datetime | None:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return max((moment for c in conditions if (moment := parsed(c.get("lastTransitionTime")))), default=None)


def _finding(level: Level, about: str, message: str, hint: str = "") -> Finding:
    return Finding(check=CHECK, level=level, about=about, message=message, hint=hint)
