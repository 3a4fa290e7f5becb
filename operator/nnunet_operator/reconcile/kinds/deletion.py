"""The end of a TrainingRun with `retention: Delete`: its results go before it does."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from nnunet_trainer.contract.report import Report

from ...api import conditions as kinds
from ...api import reasons
from ...api.common import State, WorkStatus
from ...api.resources import TrainingRun
from ...api.training_run import TrainingRunStatus
from .. import locations
from ..blocker import Blocker
from ..lifecycle import jobs
from ..lifecycle.advance import advance
from ..observed import attempts, report_checks
from ..orders import deletion as orders
from ..outcome import Outcome
from ..policies import rerun, retention
from ..references import dependencies
from ..scope import Scope
from ..status import conditions
from ..status.conclude import conclude
from ..status.sentences import KEEP_RESULTS
from ..view import View
from ..work import Work
from . import folds

LOOK_AGAIN = timedelta(seconds=30)
"""How often it is asked whether what is waited for has come, and whether the namespace is being deleted."""
TRY_AGAIN_MINUTES = 10
"""After the failure policy has given up: nobody may look at an object that was deleted."""


def reconcile(view: View[TrainingRun]) -> Outcome:
    """Stop what trains, wait for who trains from its results, have them deleted, let the object go."""
    scope, run = Scope.begin(view, view.object.status), view.object
    if run.spec.retention != "Delete":
        return retention.release(view)
    if why := _stays(view):
        return retention.release(view, why, kept=True)
    trainings = [attempt for work in folds.works(scope).values() for attempt in attempts.of(view, work).values()]
    if not trainings and all(fold.attempt is None for fold in run.status.folds):
        return retention.release(view)  # it has written nothing
    for attempt in trainings:
        jobs.delete(scope, attempt)
    scope.outcome.look_again_in(LOOK_AGAIN)
    if any(attempt.alive(scope.now) for attempt in trainings):
        return _wait(scope, Blocker(reasons.DELETING_RESULTS, "its trainings are being stopped; then its results are deleted"))
    if run.status.deletion is None and (users := _users(view)):
        text = f"{', '.join(users)} trains from its results; they are deleted when that is Ready or deleted"
        return _wait(scope, Blocker(reasons.RESULTS_IN_USE, text))
    work = _work(scope)
    start = orders.delete_results(run, view.settings, work)
    if rerun.requested(scope) or _gave_up_long_ago(scope, work):
        rerun.retry_failed(scope, [work])
    if result := advance(scope, work, start):
        return _released(view, result.report)
    overall = conditions.summary([work])
    reason, message = conditions.explain([work], overall)
    if overall == "Stalled" and work.status.state is State.FAILED:
        message = f"{message.rstrip('.')}. It is tried again every {TRY_AGAIN_MINUTES} minutes, and at once with a new spec.rerun"
    return _wait(scope, Blocker(reason, message), stalled=overall == "Stalled")


def _stays(view: View[TrainingRun]) -> str:
    """Why the results stay although they should go; empty where nothing is in the way."""
    run = view.object
    where = run.status.results.uri if run.status.results else "what it wrote"
    if view.namespace_terminating:
        return f"{where} stays: namespace {run.metadata.namespace} is being deleted, where no Job can be made that deletes it"
    if "orphan" in run.metadata.finalizers:
        return f"{where} stays: the object was deleted without what it owns (--cascade=orphan), and its Jobs may go on writing"
    store = locations.storage(run, view.settings)
    places = [fold.artifact.uri for fold in run.status.folds if fold.artifact]
    if not isinstance(store, Blocker) and (other := [uri for uri in places if not report_checks.is_below(uri, store.uri)]):
        return f"{other[0]} stays: it does not lie below the run's storage of today, {store.uri}. Delete it there"
    return ""


def _users(view: View[TrainingRun]) -> list[str]:
    """Runs that begin with this one's results and may still read them."""
    name = view.object.metadata.name
    found = []
    for other in view.dependents:
        if not isinstance(other, TrainingRun) or other.metadata.deletion_timestamp is not None:
            continue
        if name in dependencies.runs_before(other) and not kinds.is_true(other.status.conditions, kinds.READY):
            found.append(f"TrainingRun {other.metadata.name}")
    return sorted(found)


def _work(scope: Scope[TrainingRunStatus]) -> Work:
    run, status = scope.view.object, scope.status
    status.deletion = status.deletion or WorkStatus()
    return Work(
        owner_kind="TrainingRun",
        step="delete_results",
        part="delete",
        title="the deletion of its results",
        status=status.deletion,
        stored=run.status.deletion or WorkStatus(),
        policy=run.spec.failure_policy,
        artifact="deletion",
        owner_uid=run.metadata.uid,
    )


def _gave_up_long_ago(scope: Scope[Any], work: Work) -> bool:
    ended = work.status.completion_time
    return work.status.state is State.FAILED and ended is not None and scope.now >= ended + timedelta(minutes=TRY_AGAIN_MINUTES)


def _wait(scope: Scope[TrainingRunStatus], blocker: Blocker, *, stalled: bool = False) -> Outcome:
    message = f"{blocker.message.rstrip('.')}. {KEEP_RESULTS}"
    conditions.set_ready(scope, "Stalled" if stalled or blocker.stalls else "Reconciling", blocker.reason, message)
    return conclude(scope)


def _released(view: View[TrainingRun], report: Report) -> Outcome:
    kept, deleted = report.summary.get("kept"), report.summary.get("deleted")
    lines: Iterable[object] = kept if isinstance(kept, list) else ()
    texts = [str(line) for line in lines]
    entry = report.artifact("deletion")
    said = f"{deleted if isinstance(deleted, int) else 'its'} files deleted below {entry.uri if entry else 'its storage'}"
    if texts:
        return retention.release(view, f"{said}. What stays: {'; '.join(texts)}. Delete it by hand if nobody needs it.", kept=True)
    return retention.release(view, said)
