"""The life of a Dataset."""

from __future__ import annotations

from nnunet_trainer.contract import keys

from ...api import conditions as kinds
from ...api import reasons
from ...api.common import ArtifactStatus, State, WorkStatus
from ...api.dataset import DatasetStatus
from ...api.resources import Dataset
from ..lifecycle.advance import advance
from ..observed import results
from ..orders import dataset as orders
from ..outcome import Outcome
from ..policies import rerun
from ..references import resolved
from ..scope import Scope
from ..status import conditions
from ..status.conclude import conclude
from ..view import View
from ..work import Work

DATA_FAULTS = frozenset(
    {
        reasons.INVALID_CASES,
        reasons.INVALID_DATASET_JSON,
        reasons.INVALID_FILE,
        reasons.INVALID_SPLITS,
        reasons.MISSING_FILE,
        reasons.TOO_FEW_CASES,
        reasons.BAD_DATA,
    }
)
"""Failures that say that the data is wrong. All others (storage, memory, configuration …) say nothing about it."""


def reconcile(view: View[Dataset]) -> Outcome:
    """The life of a Dataset: one Job reads it all, verifies it, and takes its digest and its fingerprint."""
    scope, references = Scope.begin(view, view.object.status), resolved.of_dataset(view)
    work = reading(scope)
    if rerun.requested(scope):
        # Also when all went well: the source is read again, and what depends on it follows when it has changed.
        rerun.start_over(scope, work)
        rerun.record(scope, "the source is read again")
    if result := advance(scope, work, orders.read(references, work)):
        before, warned = scope.status.artifact, scope.status.warnings or []
        results.dataset(scope.status, result.report)
        _record_change(scope, before)
        for text in scope.status.warnings or []:
            if text not in warned:
                scope.outcome.record(reasons.DATASET_WARNING, text, warning=True)
        work.succeed(reasons.FINGERPRINTED, "", result.at)
    _set_verified_and_fingerprinted(scope, work)
    conditions.set_summary(scope, [work], reasons.FINGERPRINTED, describe(scope.status))
    return conclude(scope)


def reading(scope: Scope[DatasetStatus]) -> Work:
    """The one piece of work of a Dataset."""
    spec, stored = scope.view.object.spec, scope.view.object.status.work or WorkStatus()
    scope.status.work = scope.status.work or WorkStatus()
    return Work(
        owner_kind="Dataset",
        step="dataset",
        part="data",
        title=f"reading {spec.name}",
        status=scope.status.work,
        stored=stored,
        policy=spec.failure_policy,
        artifact="dataset",
    )


def describe(status: DatasetStatus) -> str:
    """What is known of the data, in one line."""
    parts = [f"{status.cases} cases" if status.cases is not None else ""]
    if status.channels:
        parts.append("channels " + ", ".join(status.channels[key] for key in sorted(status.channels)))
    if status.labels:
        by_value = sorted(status.labels.items(), key=lambda item: (len(item[1]), item[1]))
        parts.append("labels " + ", ".join(name for name, _ in by_value))
    if status.fingerprint and status.fingerprint.median_shape:
        parts.append("median shape " + "×".join(f"{size:g}" for size in status.fingerprint.median_shape))
    if status.fingerprint and status.fingerprint.median_spacing:
        parts.append("spacing " + "×".join(f"{size:.3g}" for size in status.fingerprint.median_spacing) + " mm")
    warnings = status.warnings or []
    more = f" (and {len(warnings) - 1} more in status.warnings)" if len(warnings) > 1 else ""
    warned = f". Warning: {warnings[0].rstrip('.')}{more}" if warnings else ""
    return ("; ".join(part for part in parts if part) or "verified and fingerprinted") + warned


def _record_change(scope: Scope[DatasetStatus], before: ArtifactStatus | None) -> None:
    """After the source was read again: an event that says whether it is what it was, and what follows."""
    now = scope.status.artifact
    if before is None or now is None:
        return
    if before.digest == now.digest:
        scope.outcome.record(reasons.DATASET_UNCHANGED, "The source was read again: the data is what it was.")
        return
    digests = f"{keys.short(before.digest)} → {keys.short(now.digest)}"
    text = f"The data is another than before ({digests}). Plans of this dataset are planned and preprocessed anew."
    scope.outcome.record(reasons.DATASET_CHANGED, text)


def _set_verified_and_fingerprinted(scope: Scope[DatasetStatus], work: Work) -> None:
    state, message = work.status.state, work.status.message or ""
    reason = work.status.reason or reasons.VERIFYING
    if state is State.SUCCEEDED:
        count = len(scope.status.warnings or [])
        warned = f", {count} {'warning' if count == 1 else 'warnings'} in status.warnings" if count else ""
        conditions.set_own(scope, kinds.VERIFIED, True, reasons.VERIFIED, f"{scope.status.cases} cases{warned}")
        conditions.set_own(scope, kinds.FINGERPRINTED, True, reasons.FINGERPRINTED, describe(scope.status))
        return
    faulty = state is State.FAILED and reason in DATA_FAULTS
    verified = reason == reasons.FINGERPRINTING
    conditions.set_own(scope, kinds.VERIFIED, verified or (False if faulty else "Unknown"), reason, message)
    conditions.set_own(scope, kinds.FINGERPRINTED, False, reason, message if verified else "waits for the data to be verified")
