"""What should be, as pure functions from View to Outcome."""

from __future__ import annotations

from typing import Any

from ..api.resources import Dataset, Plans, PlanTransfer, Resource, TrainingRun
from .kinds import dataset, invalid, plan_transfer, plans, training_run
from .outcome import Outcome
from .view import View

__all__ = ["RECONCILERS", "reconcile"]

RECONCILERS: dict[type[Resource], Any] = {
    Dataset: dataset.reconcile,
    Plans: plans.reconcile,
    PlanTransfer: plan_transfer.reconcile,
    TrainingRun: training_run.reconcile,
    invalid.Unreadable: invalid.reconcile,
}


def reconcile(view: View[Any]) -> Outcome:
    """All that is to be done about an object now. From the same View it always says the same."""
    outcome: Outcome = RECONCILERS[type(view.object)](view)
    return outcome
