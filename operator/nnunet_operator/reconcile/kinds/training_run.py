"""The life of a TrainingRun."""

from __future__ import annotations

from ...api import reasons
from ...api.resources import TrainingRun
from ..lifecycle import advance as life
from ..observed import results
from ..orders import work_orders
from ..outcome import Outcome
from ..policies import max_parallel_folds, rerun, suspend, ttl_seconds_after_finished
from ..references import component_names, dependencies
from ..scope import Scope
from ..status import conditions
from ..view import View
from . import folds


def reconcile(view: View[TrainingRun]) -> Outcome:
    """The life of a TrainingRun: wait, start each fold, watch, retry, finish, tidy."""
    scope, run = Scope.begin(view, view.object.status), view.object
    works = folds.lay_out(scope)
    barred = dependencies.cycle(view) or component_names.bar(view)
    starts = {name: barred or work_orders.training(view, work, name) for name, work in works.items()}
    if rerun.asked(scope):
        rerun.tell_tried(scope, [*rerun.failed(scope, works.values()), *folds.train_anew_where_changed(scope, works, starts)])
    if run.spec.suspend:
        suspend.suspend(scope, works.values())
    else:
        suspend.resume(works.values())
    for name, work in works.items():
        start = folds.never_mixed(works, starts[name])
        if result := life.advance(scope, work, max_parallel_folds.gate(works.values(), work, run.spec.max_parallel_folds, start)):
            results.fold(folds.row(work), result.report, folds.store(view))
            life.succeed(work, result, reasons.TRAINED, folds.describe(folds.row(work)))
    folds.tell_of_changes(scope, works, starts)
    folds.sum_up(scope, works, starts)
    conditions.conclude(scope, list(works.values()), reasons.COMPLETED, folds.outcome(scope, works, starts))
    ttl_seconds_after_finished.expire(scope, run)
    return scope.end()
