"""What should be, as pure functions from View to Outcome.

The rooms, each of which imports only from those below it:

- `kinds`: the life of each of the four kinds, to be read from top to bottom;
- `lifecycle`: how one piece of work goes on, and when its Jobs are made and deleted; `orders`: what each Job is to do;
- `policies`: one file each, named after the field of the spec that it serves;
- `observed`: what Jobs, pods, their progress and their reports tell; `references`: what a spec refers to, resolved once a pass;
- `status`: conditions and events;
- beside them what all share: `view` and `outcome`, the `scope` of a pass, `work`, `blocker`, `locations`, `spec_to_order`, `times`.

`view_builder` makes the View for both shells.
"""

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
