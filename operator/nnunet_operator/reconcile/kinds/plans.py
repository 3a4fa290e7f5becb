"""The life of a Plans."""

from __future__ import annotations

from ...api.common import State
from ...api.resources import Plans
from ..outcome import Outcome
from ..policies import rerun
from ..references import resolved
from ..scope import Scope
from ..status import conditions
from ..status.conclude import conclude
from ..view import View
from . import planning, preprocessing


def reconcile(view: View[Plans]) -> Outcome:
    """The life of a Plans: wait for the dataset, plan (or transfer), then preprocess each configuration by itself."""
    scope, references = Scope.begin(view, view.object.status), resolved.of_plans(view)
    plan, rows = planning.work(scope), preprocessing.works(scope)
    scope.status.plans_name = scope.status.plans_name or view.object.spec.plans_name
    if rerun.requested(scope):
        retried = rerun.retry_failed(scope, [plan, *rows.values()])
        if not planning.replan_changed(scope, plan, failed=bool(retried)):
            rerun.record_retried(scope, retried)
    planning.plan(scope, references, plan)
    for name, row in rows.items():
        preprocessing.preprocess(scope, references, plan, row, name)
    preprocessing.mark_unasked(scope, rows)
    planning.set_planned(scope, plan)
    preprocessing.set_preprocessed(scope, rows)
    works = list(rows.values()) if plan.status.state is State.SUCCEEDED else [plan]
    conditions.set_summary(scope, works, *preprocessing.done(scope))
    return conclude(scope)
