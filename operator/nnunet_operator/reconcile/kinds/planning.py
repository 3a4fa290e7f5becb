"""The planning of a Plans, or its transfer from other plans."""

from __future__ import annotations

from ...api import conditions as kinds
from ...api import reasons
from ...api.common import State, WorkStatus
from ...api.plans import ConfigurationStatus, PlansStatus
from .. import locations
from ..blocker import Blocker
from ..lifecycle.advance import advance
from ..observed import results
from ..orders import planning as orders
from ..policies import rerun, suspend
from ..references import mounted_plugins
from ..references.resolved import PlansReferences
from ..scope import Scope
from ..status import conditions
from ..work import Work

AGREEING = ("same", "transferred", "recomputed")
"""Verdicts of a transfer's compatibility report that are no mismatch."""


def work(scope: Scope[PlansStatus]) -> Work:
    """The planning, or the transfer."""
    spec, stored = scope.view.object.spec, scope.view.object.status.work or WorkStatus()
    transfer = spec.transfer_from
    scope.status.work = scope.status.work or WorkStatus()
    return Work(
        owner_kind="Plans",
        step="transfer" if transfer else "plan",
        part="transfer" if transfer else "plan",
        title=f"the transfer from {transfer.plans_ref.name}" if transfer else f"planning for {spec.dataset_ref.name}",
        status=scope.status.work,
        stored=stored,
        policy=spec.failure_policy,
        artifact="plans",
    )


def plan(scope: Scope[PlansStatus], references: PlansReferences, work: Work) -> None:
    """Plan once the dataset is fingerprinted, and anew when it is another."""
    start = orders.plan(references, work)
    if rerun.input_changed(start, work):
        rerun.start_over(scope, work)
        _record_change(scope, references, work)
    elif was_restored(references, work):
        rerun.start_over(scope, work)
    suspend.apply(scope, [work])
    if result := advance(scope, work, start):
        results.plans(scope.status, result.report)
        work.succeed(reasons.PLANNED, "", result.at)
    if rerun.is_input(start, work):
        _remember_inputs(scope.status, references)


def replan_changed(scope: Scope[PlansStatus], work: Work, *, failed: bool) -> bool:
    """On a rerun: plan anew what was planned with a plug-in that is another now; whether it is.

    A transfer begins anew with the plans that it is of. Where something had `failed`, the rerun is for that, and a plug-in that
    planning alone needs does not change it.
    """
    made_with = [each for each in scope.status.plugins or [] if each.needed or not failed]
    changed = mounted_plugins.changed(scope.view, made_with)
    if not changed or work.status.state is not State.SUCCEEDED or scope.view.object.spec.transfer_from:
        return False
    rerun.start_over(scope, work)
    rerun.record(scope, f"{work.title} begins anew with the plug-in {', '.join(changed)} as it is now, and what follows from it")
    return True


def was_restored(references: PlansReferences, work: Work) -> bool:
    """It failed as files had changed since the dataset was read; the dataset was read since then, and is what it was."""
    dataset = references.dataset.object
    read = dataset.status.work.completion_time if dataset and dataset.status.work else None
    status = work.status
    changed = status.state is State.FAILED and status.reason == reasons.DATASET_CHANGED
    return bool(changed and read and status.completion_time and read > status.completion_time)


def describe(status: PlansStatus) -> str:
    """What was planned, in one line."""
    parts = [_configuration(row) for row in status.configurations if row.patch_size and row.batch_size]
    warned = "".join(f". Warning: {warning.rstrip('.')}" for warning in status.warnings or [])
    measured = f"; {status.calibration}" if status.calibration else ""
    return (f"{status.plans_name}: " if status.plans_name else "") + ("; ".join(parts) or "planned") + measured + warned


def set_planned(scope: Scope[PlansStatus], work: Work) -> None:
    """The conditions Planned and, of a transfer, Compatible."""
    done = work.status.state is State.SUCCEEDED
    message = describe(scope.status) if done else work.status.message or ""
    conditions.set_own(scope, kinds.PLANNED, done, work.status.reason or reasons.PLANNING, message)
    lines = scope.status.compatibility
    if lines is None:
        return
    differ = [line for line in lines if line.verdict not in AGREEING]
    text = "; ".join(f"{line.field}: {line.source} → {line.target} ({line.verdict})" for line in differ)
    text = text or "; ".join(f"{line.field}: {line.verdict}" for line in lines)
    conditions.set_own(scope, kinds.COMPATIBLE, not differ, reasons.MISMATCH if differ else reasons.COMPATIBLE, text)


def _configuration(row: ConfigurationStatus) -> str:
    text = f"{row.name}: patch {'×'.join(map(str, row.patch_size or []))}, batch {row.batch_size}"
    if row.spacing:
        text += f", spacing {'×'.join(f'{size:.3g}' for size in row.spacing)} mm"
    return text + (f", about {row.estimated_gpu_memory_gb:.3g} GB" if row.estimated_gpu_memory_gb else "")


def _record_change(scope: Scope[PlansStatus], references: PlansReferences, work: Work) -> None:
    """Why what was planned is planned anew: the dataset is another, or, of a transfer, the other plans are."""
    status, dataset, source = scope.status, references.dataset, references.transfer_from
    now = dataset.object.status.artifact if dataset.object else None
    if source and status.dataset and now and status.dataset.digest == now.digest:
        text = f"Plans {source.name} are others than before: {work.title} begins anew."
        scope.outcome.record(reasons.PLANS_CHANGED, text)
        return
    text = f"Dataset {dataset.name} is another than before: {work.title} begins anew, and what follows from it."
    scope.outcome.record(reasons.DATASET_CHANGED, text)


def _remember_inputs(status: PlansStatus, references: PlansReferences) -> None:
    """What a TrainingRun and a transfer have to know of what these plans were made for, as it was then."""
    dataset, store, of_dataset = references.dataset.object, references.storage, references.dataset_storage
    if isinstance(store, Blocker) or dataset is None:
        return
    status.storage = locations.status(store)
    status.dataset_name = dataset.spec.name
    status.dataset = dataset.status.artifact
    status.layout = dataset.spec.source.layout
    status.source = locations.status(locations.source(dataset, store if isinstance(of_dataset, Blocker) else of_dataset))
