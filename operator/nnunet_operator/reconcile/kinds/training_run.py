"""The life of a TrainingRun."""

from __future__ import annotations

from ...api import reasons
from ...api.resources import TrainingRun
from ..observed import results
from ..outcome import Outcome
from ..policies import max_parallel_folds, rerun, suspend, ttl_seconds_after_finished
from ..references import catalogued, references
from ..told import conditions
from ..turn import Turn
from ..view import View
from ..work import life, work_orders
from . import folds


def reconcile(view: View[TrainingRun]) -> Outcome:
    """The life of a TrainingRun: wait, start each fold, watch, retry, finish, tidy."""
    turn, run = Turn.begin(view, view.object.status), view.object
    works = folds.lay_out(turn)
    barred = references.cycle(view) or catalogued.bar(view)
    starts = {name: barred or work_orders.training(view, work, name) for name, work in works.items()}
    if rerun.asked(turn):
        rerun.tell_tried(turn, [*rerun.failed(turn, works.values()), *folds.train_anew_where_changed(turn, works, starts)])
    if run.spec.suspend:
        suspend.suspend(turn, works.values())
    else:
        suspend.resume(works.values())
    for name, work in works.items():
        start = folds.never_mixed(works, starts[name])
        if result := life.advance(turn, work, max_parallel_folds.gate(works.values(), work, run.spec.max_parallel_folds, start)):
            results.fold(folds.row(work), result.report, folds.store(view))
            life.succeed(work, result, reasons.TRAINED, folds.describe(folds.row(work)))
    folds.tell_of_changes(turn, works, starts)
    folds.sum_up(turn, works, starts)
    conditions.conclude(turn, list(works.values()), reasons.COMPLETED, folds.outcome(turn, works, starts))
    ttl_seconds_after_finished.expire(turn, run)
    return turn.end()
