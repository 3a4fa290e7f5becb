"""Whether the weights of another run can fit, as far as its plans tell: before that run has trained for days."""

from __future__ import annotations

from ...api import reasons
from ..blocker import Blocker
from .resolved import RunReferences


def networks_differ(references: RunReferences) -> Blocker | None:
    """The plans of the two runs have other architectures, and their trainers change both in the same way."""
    run, spec = references.run, references.run.spec.pretrained
    other = references.pretrained.object if references.pretrained else None
    if spec is None or other is None or spec.mismatched == "Skip":
        return None
    mine, its = (row.network_digest if row else None for row in (references.configuration, references.pretrained_configuration))
    if mine is None or its is None or mine == its:
        return None
    recipes = (references.recipe, references.pretrained_recipe)
    if recipes[0] is None or recipes[1] is None or recipes[0]["network"] != recipes[1]["network"]:
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
