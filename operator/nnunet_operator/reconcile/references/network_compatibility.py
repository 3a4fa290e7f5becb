"""Whether the weights of another run can fit, as far as its plans tell: before that run has trained for days."""

from __future__ import annotations

from ...api import reasons
from ...api.resources import Plans, TrainingRun
from ..view import View
from ..work import Blocker
from . import component_names


def differ(view: View[TrainingRun]) -> Blocker | None:
    """The plans of the two runs have other architectures, and their trainers change both in the same way."""
    run, spec = view.object, view.object.spec.pretrained
    if spec is None or spec.run_ref is None or spec.mismatched == "Skip":
        return None
    other = view.reference("TrainingRun", spec.run_ref.name)
    if not isinstance(other, TrainingRun):
        return None
    mine, its = _digest(view, run), _digest(view, other)
    if mine is None or its is None or mine == its:
        return None
    recipes = [component_names.recipe(each, view.settings) for each in (run, other)]
    if None in recipes or recipes[0]["network"] != recipes[1]["network"]:  # type: ignore[index]
        return None  # only the Job can know
    planned = [
        f"Plans {each.spec.plans_ref.name}, {each.spec.configuration} ({digest})" for each, digest in ((run, mine), (other, its))
    ]
    text = (
        f"TrainingRun {other.metadata.name} (spec.pretrained.runRef) trains another network, whose weights do not fit this one: "
        f"{planned[0]} and {planned[1]} differ in their architecture. Make the plans of one dataset from the other's with a "
        "PlanTransfer, and train on those; or, where few tensors differ, leave them out: spec.pretrained.mismatched: Skip, in "
        "another TrainingRun."
    )
    return Blocker(reasons.NETWORKS_DIFFER, text)


def _digest(view: View[TrainingRun], run: TrainingRun) -> str | None:
    plans = view.reference("Plans", run.spec.plans_ref.name)
    row = plans.status.configuration(run.spec.configuration) if isinstance(plans, Plans) else None
    return row.network_digest if row else None
