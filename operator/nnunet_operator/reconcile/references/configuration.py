"""The configuration of a Plans that a TrainingRun trains: planned, preprocessed, and by what."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_trainer.contract.catalogue import networks
from nnunet_trainer.contract.faults import BadConfiguration, unknown_name
from nnunet_trainer.contract.work_order import Input

from ...api import reasons
from ...api.common import State
from ...api.plans import ConfigurationStatus
from ...api.resources import Plans, TrainingRun
from .. import locations
from ..view import View
from ..work import Blocker
from . import component_names, dependencies


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessed:
    """What a training reads."""

    dataset_name: str
    plans: Input
    data: Input


def preprocessed(view: View[TrainingRun]) -> Preprocessed | Blocker:
    """The run's own configuration once its data is there. Other configurations of the same Plans do not matter."""
    name, wanted = view.object.spec.plans_ref.name, view.object.spec.configuration
    plans = view.reference("Plans", name)
    if plans is None:
        return Blocker(reasons.WAITING_FOR_PLANS, f"waits for Plans {name} (spec.plansRef), which does not exist")
    if not isinstance(plans, Plans):
        return dependencies.standing(plans, f"to preprocess {wanted}")
    status = plans.status
    if missing := unasked(view, plans):
        return missing
    if status.artifact is None or status.storage is None or status.work is None or status.work.state is not State.SUCCEEDED:
        return dependencies.standing(plans, f"to preprocess {wanted}")
    if missing := unknown(plans, wanted):
        return missing
    mine = status.configuration(wanted)
    if mine is not None and mine.state is State.FAILED:
        what = f"Configuration {wanted} of Plans {name}"
        return dependencies.failed(what, mine.reason or reasons.FAILED, mine.message or "")
    if mine is None or mine.state is not State.SUCCEEDED or mine.preprocessed is None:
        now = f"; it is {mine.state.value}" if mine else ""
        return Blocker(reasons.WAITING_FOR_PLANS, f"waits for Plans {name} to preprocess {wanted}{now}")
    store = locations.of_status(status.storage)
    return Preprocessed(
        dataset_name=status.dataset_name or "",
        plans=Input(location=locations.at(status.artifact.uri, store), digest=status.artifact.digest),
        data=Input(location=locations.at(mine.preprocessed.uri, store), digest=mine.preprocessed.digest),
    )


def unasked(view: View[TrainingRun], plans: Plans) -> Blocker | None:
    """A configuration that the plans are not asked to preprocess: known before anything is planned."""
    name, wanted = plans.metadata.name, view.object.spec.configuration
    asked = plans.spec.preprocessing.configurations
    if wanted in asked:
        return None
    if missing := unknown(plans, wanted):
        return missing
    planned = any(row.batch_size is not None for row in plans.status.configurations)
    possible = () if planned or view.settings.names_pass else component_names.configurations(plans.spec, view.settings)
    if possible and wanted not in possible:
        # Those that will be preprocessed are what was meant, most likely.
        return Blocker(reasons.UNKNOWN_CONFIGURATION, unknown_name(f"configuration of Plans {name}", wanted, {*possible, *asked}))
    owner = next((owner for owner in plans.metadata.owner_references if owner.kind == "PlanTransfer"), None)
    whose = f"PlanTransfer {owner.name}'s" if owner else "its"
    text = f"Plans {name} preprocesses {', '.join(asked)} alone. Add {wanted} to {whose} spec.preprocessing.configurations."
    return Blocker(reasons.CONFIGURATION_NOT_PREPROCESSED, text)


def _planned(view: View[TrainingRun]) -> ConfigurationStatus | None:
    """What the plans' status says of the run's configuration."""
    plans = view.reference("Plans", view.object.spec.plans_ref.name)
    return plans.status.configuration(view.object.spec.configuration) if isinstance(plans, Plans) else None


def too_small(view: View[TrainingRun]) -> Blocker | None:
    """A batch that has fewer samples than there are GPUs, as soon as it is planned."""
    spec = view.object.spec
    row = _planned(view)
    own = (component_names.recipe(view.object, view.settings) or {}).get("batchSize")
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


def unfit(view: View[TrainingRun]) -> Blocker | None:
    """A patch that the recipe's network cannot be trained on, as soon as it is planned."""
    row = _planned(view)
    changes = (component_names.recipe(view.object, view.settings) or {}).get("network")
    if not isinstance(changes, dict):
        return None
    try:
        if row is not None and row.patch_size:
            networks.check_patch(changes, row.patch_size)
    except BadConfiguration as fault:
        return Blocker(fault.reason, f"{fault.message} {fault.hint} {component_names.ANOTHER.format('TrainingRun')}")
    return None


def unknown(plans: Plans, wanted: str) -> Blocker | None:
    """A name that planned plans do not have, with those that they have."""
    known = [c.name for c in plans.status.configurations if c.batch_size is not None or c.preprocessable is not None]
    if wanted in known or not known:
        return None  # none at all: the report had to be cut, and the Job finds out
    return Blocker(reasons.UNKNOWN_CONFIGURATION, unknown_name(f"configuration of Plans {plans.metadata.name}", wanted, known))
