"""The life of a TrainingRun."""

from __future__ import annotations

from ...api import reasons
from ...api.resources import TrainingRun
from ..lifecycle import jobs
from ..lifecycle.advance import advance
from ..observed import results
from ..orders import training as orders
from ..outcome import Outcome
from ..policies import max_parallel_folds, rerun, retention, seed, suspend, ttl_seconds_after_finished
from ..references import mounted_plugins, resolved
from ..scope import Scope
from ..status import conditions
from ..status.conclude import conclude
from ..view import View
from . import deletion, fold_changes, folds


def reconcile(view: View[TrainingRun]) -> Outcome:
    """The life of a TrainingRun: wait, start each fold, watch, retry, finish, tidy."""
    if view.object.metadata.deletion_timestamp is not None:
        return deletion.reconcile(view)
    if (finalizers := retention.finalizers(view.object)) is not None:
        return Outcome(finalizers=finalizers)
    scope, run, references = Scope.begin(view, view.object.status), view.object, resolved.of_run(view)
    works = folds.works(scope)
    starts = orders.train(references, works.items(), seed.keep(scope))
    if rerun.requested(scope):
        retried = rerun.retry_failed(scope, works.values())
        rerun.record_retried(scope, [*retried, *fold_changes.retrain_changed(scope, works, starts)])
    suspend.apply(scope, works.values())
    begun = mounted_plugins.recall(view, scope.status) or mounted_plugins.has_begun(works.values())
    kept = (scope.status.plugins or {}) if begun else {}
    for name, work in works.items():
        start = fold_changes.require_same_input(works, starts[name])
        start = mounted_plugins.require_same(view, references, start, kept)
        start = max_parallel_folds.limit(works.values(), work, run.spec.max_parallel_folds, start)
        if result := advance(scope, work, start):
            results.fold(folds.row(work), result.report, references.storage)
            work.succeed(reasons.TRAINED, folds.describe(folds.row(work)), result.at)
    if scope.outcome.create:
        mounted_plugins.keep(view, scope.status, begun=begun)
    fold_changes.record_added(scope, works)
    fold_changes.record_change(scope, works, starts)
    fold_changes.keep_inputs(scope, works, starts, references)
    folds.sum_up(scope, works, starts)
    folds.set_trained(scope, works, starts)
    conditions.set_summary(scope, list(works.values()), reasons.COMPLETED, folds.describe_all(scope, works, starts))
    ttl_seconds_after_finished.expire(scope, run)
    scope.outcome.settled = jobs.is_settled(scope, works.values()) and ttl_seconds_after_finished.is_known(run)
    return conclude(scope)
