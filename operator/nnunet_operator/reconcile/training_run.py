"""The life of a TrainingRun."""

from __future__ import annotations

from ..api import reasons
from ..api.resources import TrainingRun
from . import catalogued, conditions, folds, life, placement, references, rerun, results, retention, suspension, work_orders
from .outcome import Outcome
from .turn import Turn
from .view import View


def reconcile(view: View[TrainingRun]) -> Outcome:
    """The life of a TrainingRun: wait, start each fold, watch, retry, finish, tidy."""
    turn, run = Turn.begin(view, view.object.status), view.object
    works = folds.lay_out(turn)
    barred = references.cycle(view) or catalogued.bar(view)
    starts = {name: barred or work_orders.training(view, work, name) for name, work in works.items()}
    if rerun.asked(turn):
        rerun.tell_tried(turn, [*rerun.failed(turn, works.values()), *folds.train_anew_where_changed(turn, works, starts)])
    if run.spec.suspend:
        suspension.suspend(turn, works.values())
    else:
        suspension.resume(works.values())
    for name, work in works.items():
        start = folds.never_mixed(works, starts[name])
        if result := life.advance(turn, work, placement.gate(works.values(), work, run.spec.max_parallel_folds, start)):
            results.fold(folds.row(work), result.report, folds.store(view))
            life.succeed(work, result, reasons.TRAINED, folds.describe(folds.row(work)))
    folds.tell_of_changes(turn, works, starts)
    folds.sum_up(turn, works, starts)
    conditions.conclude(turn, list(works.values()), reasons.COMPLETED, folds.outcome(turn, works, starts))
    retention.expire(turn, run)
    return turn.end()
