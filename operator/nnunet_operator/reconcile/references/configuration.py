"""The configuration of a Plans that a TrainingRun trains: planned, preprocessed, and fit for its workers and its recipe."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_trainer.contract.catalogue import networks
from nnunet_trainer.contract.faults import BadConfiguration, unknown_name
from nnunet_trainer.contract.work_order import Input

from ...api import reasons
from ...api.common import State
from ...api.fields import plugins
from ...api.resources import Plans
from .. import locations
from ..blocker import Blocker
from . import component_names
from .referenced import dependency_failed
from .resolved import RunReferences


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessed:
    """What a training reads."""

    dataset_name: str
    plans: Input
    data: Input


def preprocessed(references: RunReferences) -> Preprocessed | Blocker:
    """The run's own configuration once its data is there. Other configurations of the same Plans do not matter."""
    plans, wanted = references.plans.object, references.run.spec.configuration
    if plans is None:
        return references.plans.wait(f"to preprocess {wanted}")
    status, name = plans.status, references.plans.name
    if missing := unasked(references, plans):
        return missing
    if status.artifact is None or status.storage is None or status.work is None or status.work.state is not State.SUCCEEDED:
        return references.plans.wait(f"to preprocess {wanted}")
    if missing := unknown(plans, wanted):
        return missing
    mine = references.configuration
    if mine is not None and mine.state is State.FAILED:
        what = f"Configuration {wanted} of Plans {name}"
        return dependency_failed(what, mine.reason or reasons.FAILED, mine.message or "")
    if mine is None or mine.state is not State.SUCCEEDED or mine.preprocessed is None:
        now = f"; it is {mine.state.value}" if mine else ""
        return Blocker(reasons.WAITING_FOR_PLANS, f"waits for Plans {name} to preprocess {wanted}{now}")
    return Preprocessed(
        dataset_name=status.dataset_name or "",
        plans=locations.artifact(status.artifact, status.storage),
        data=locations.artifact(mine.preprocessed, status.storage),
    )


def unasked(references: RunReferences, plans: Plans) -> Blocker | None:
    """A configuration that the plans are not asked to preprocess: known before anything is planned."""
    name, wanted = plans.metadata.name, references.run.spec.configuration
    asked = plans.spec.preprocessing.configurations
    if wanted in asked:
        return None
    if missing := unknown(plans, wanted):
        return missing
    planned = any(row.batch_size is not None for row in plans.status.configurations)
    settings = references.settings
    possible = () if planned or settings.names_pass else component_names.configurations(plans.spec, settings)
    if possible and wanted not in possible:
        # Those that will be preprocessed are what was meant, most likely.
        return Blocker(reasons.UNKNOWN_CONFIGURATION, unknown_name(f"configuration of Plans {name}", wanted, {*possible, *asked}))
    owner = next((owner for owner in plans.metadata.owner_references if owner.kind == "PlanTransfer"), None)
    whose = f"PlanTransfer {owner.name}'s" if owner else "its"
    text = f"Plans {name} preprocesses {', '.join(asked)} alone. Add {wanted} to {whose} spec.preprocessing.configurations."
    return Blocker(reasons.CONFIGURATION_NOT_PREPROCESSED, text)


def batch_too_small(references: RunReferences) -> Blocker | None:
    """A batch that has fewer samples than there are GPUs, as soon as it is planned."""
    spec, row = references.run.spec, references.configuration
    own = (references.recipe or {}).get("batchSize")
    batch = own or (row.batch_size if row else None)
    ranks = spec.workers.nodes * max(1, spec.workers.gpus_per_node)
    if batch is None or batch >= ranks:
        return None
    where = "spec.trainer.recipe.batchSize" if own else f"Plans {spec.plans_ref.name}"
    text = (
        f"A batch of {batch} ({where}) cannot be split over {ranks} GPUs (spec.workers): each needs at least one sample. "
        "Use fewer GPUs, or plan a larger batch (spec.patch of another Plans)."
    )
    return Blocker(reasons.BATCH_SMALLER_THAN_WORLD, text)


def network_does_not_fit(references: RunReferences) -> Blocker | None:
    """A patch that the recipe's network cannot be trained on, as soon as it is planned."""
    row, changes = references.configuration, (references.recipe or {}).get("network")
    if not isinstance(changes, dict):
        return None
    try:
        if row is not None and row.patch_size:
            networks.check_patch(changes, row.patch_size)
    except BadConfiguration as fault:
        return Blocker(fault.reason, f"{fault.message} {fault.hint} {component_names.CREATE_ANOTHER.format('TrainingRun')}")
    return None


def plugin_missing(references: RunReferences) -> Blocker | None:
    """A plug-in that the plans need in training too, and the run does not name: its pod would end at once, with a GPU taken.

    Plug-ins of the trainer's image are not named anywhere; only the Job can know whether they are there.
    """
    plans = references.plans.object
    if plans is None:
        return None
    mine, theirs = plugins.names(references.run.spec.plugins), plugins.names(plans.spec.plugins)
    lacking = [each for each in plans.status.plugins or [] if each.needed and each.name in theirs and each.name not in mine]
    if not lacking:
        return None
    text = (
        f"Plans {plans.metadata.name} was made with the plug-in {', '.join(each.name for each in lacking)}, which training needs "
        f"too: name it in spec.plugins. {component_names.CREATE_ANOTHER.format('TrainingRun')}"
    )
    return Blocker(reasons.MISSING_PLUGIN, text)


def unknown(plans: Plans, wanted: str) -> Blocker | None:
    """A name that planned plans do not have, with those that they have."""
    known = [c.name for c in plans.status.configurations if c.batch_size is not None or c.preprocessable is not None]
    if wanted in known or not known:
        return None  # none at all: the report had to be cut, and the Job finds out
    return Blocker(reasons.UNKNOWN_CONFIGURATION, unknown_name(f"configuration of Plans {plans.metadata.name}", wanted, known))
