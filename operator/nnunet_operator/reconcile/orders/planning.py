"""The order of a planning: plan for a dataset, or make another dataset's plans fit it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.work_order import Input, Location, PlannerChoice, PlanOrder, TransferOrder

from ...api import conditions
from ...api.fields import plugins
from ...api.plans import PlannerOverride, PlannerSpec, TransferFrom
from ...api.resources import Dataset, Plans
from .. import locations
from ..blocker import Blocker
from ..references import configuration
from ..references.referenced import Referenced
from ..references.resolved import PlansReferences
from ..spec_to_order import build
from ..work import Startable, Work
from .startable import startable


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprinted:
    """A dataset that can be planned for, and preprocessed."""

    dataset: Dataset
    input: Input
    source: Location
    """Of its raw data."""


def plan(references: PlansReferences, work: Work) -> Startable | Blocker:
    """Plan for a dataset, or make another dataset's plans fit it; or what is missing for that."""
    plans, spec, store = references.plans, references.plans.spec, references.storage
    if references.blocker:
        return references.blocker
    if isinstance(store, Blocker):
        return store
    read = fingerprinted(references)
    if isinstance(read, Blocker):
        return read
    if spec.transfer_from is not None and references.transfer_from is not None:
        return _transfer(references, work, spec.transfer_from, references.transfer_from, read, store)
    planner = spec.planner_or_default
    order = build(
        PlanOrder,
        spec,
        read.dataset.spec.source,
        dataset_name=read.dataset.spec.name,
        dataset=read.input,
        source=read.source,
        storage=store,
        plugins=plugins.names(spec.plugins),
        per_configuration={name: override(planner, own) for name, own in (planner.per_configuration or {}).items()},
    )
    digest = keys.digest("plan", read.input.digest)
    return startable(plans, references.settings, work, order, digest, resources=planner.resources)


def fingerprinted(references: PlansReferences) -> Fingerprinted | Blocker:
    """The dataset once it is fingerprinted."""
    dataset, store = references.dataset.once(conditions.FINGERPRINTED), references.dataset_storage
    if isinstance(dataset, Blocker):
        return dataset
    if dataset.status.artifact is None:
        return references.dataset.wait("to be Fingerprinted")
    if isinstance(store, Blocker):
        return Blocker(store.reason, f"Dataset {dataset.metadata.name} {store.message}")
    return Fingerprinted(
        dataset=dataset, input=locations.artifact(dataset.status.artifact, store), source=locations.source(dataset, store)
    )


def override(base: PlannerSpec, own: PlannerOverride) -> PlannerChoice:
    """The planner of one configuration: another planner starts afresh; the same one keeps what is not said anew."""
    if own.name not in (None, base.name):
        return build(PlannerChoice, own)
    return replace(build(PlannerChoice, own, base), parameters={**(base.parameters or {}), **(own.parameters or {})})


def _transfer(
    references: PlansReferences,
    work: Work,
    transfer: TransferFrom,
    transferred: Referenced[Plans],
    read: Fingerprinted,
    store: Location,
) -> Startable | Blocker:
    spec, source = references.plans.spec, transferred.once(conditions.PLANNED)
    if isinstance(source, Blocker):
        return source
    if source.status.artifact is None or source.status.storage is None or source.status.dataset is None:
        return transferred.wait("to be Planned")
    patched = (spec.patch or {}).get("configurations") or {}
    for name in spec.preprocessing.configurations:
        if name not in patched and (missing := configuration.unknown(source, name)):
            return missing
    made_for = references.transfer_from_dataset_storage
    order = build(
        TransferOrder,
        transfer,
        spec,
        read.dataset.spec.source,
        from_plans=locations.artifact(source.status.artifact, source.status.storage),
        from_dataset=locations.artifact(source.status.dataset, made_for if isinstance(made_for, Location) else store),
        dataset_name=read.dataset.spec.name,
        dataset=read.input,
        source=read.source,
        storage=store,
        plugins=plugins.names(spec.plugins),
        plans_name=spec.plans_name or f"nnUNetPlans_{transfer.plans_ref.name}",
    )
    digest = keys.digest("transfer", read.input.digest, source.status.artifact.digest)
    return startable(references.plans, references.settings, work, order, digest)
