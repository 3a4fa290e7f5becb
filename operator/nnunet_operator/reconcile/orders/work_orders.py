"""What each Job is to do, from an object and what it refers to; or what is missing for it."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.work_order import (
    CheckpointPolicy,
    DatasetOrder,
    Input,
    Location,
    PlannerChoice,
    PlanOrder,
    PreprocessOrder,
    TrainerChoice,
    TrainOrder,
    TransferOrder,
    WorkOrder,
)

from ...api import conditions, reasons
from ...api.common import ArtifactStatus, TemplateSpec
from ...api.plans import PlannerOverride, PlannerSpec, PlansStatus
from ...api.resources import Dataset, Plans, TrainingRun
from ...manifests import names
from ...manifests.step import Step
from .. import locations
from ..references import configuration, dependencies, network_compatibility, pretrained, previous_stage
from ..view import View
from ..work import Blocker, Ready, Work

SHARED_MEMORY = "2Gi"
"""Limit of /dev/shm where the template names none; only what is used counts as memory."""


def reading(view: View[Dataset], work: Work) -> Ready | Blocker:
    """Verify a dataset and take its fingerprint."""
    spec, store = view.object.spec, locations.storage(view)
    if isinstance(store, Blocker):
        return store
    order = DatasetOrder(
        name=spec.name,
        source=locations.source(view.object, store),
        storage=store,
        layout=spec.source.layout,
        extractor=spec.fingerprint.extractor,
        group_by=spec.splits.group_by if spec.splits else None,
    )
    return _ready(view, work, order, keys.digest("dataset", spec.source.uri))


def planning(view: View[Plans], work: Work) -> Ready | Blocker:
    """Plan for a dataset, or make another dataset's plans fit it."""
    spec, store = view.object.spec, locations.storage(view)
    if isinstance(store, Blocker):
        return store
    dataset = fingerprinted(view)
    if isinstance(dataset, Blocker):
        return dataset
    read = _dataset_input(view, dataset)
    if isinstance(read, Blocker):
        return read
    if spec.transfer_from is not None:
        return _transfer(view, work, dataset, read, store)
    planner = spec.planner_or_default
    order = PlanOrder(
        dataset_name=dataset.spec.name,
        dataset=read,
        source=locations.source(dataset, read.location),
        storage=store,
        planner=_choice(planner),
        per_configuration={name: _override(planner, own) for name, own in (planner.per_configuration or {}).items()},
        plans_name=spec.plans_name,
        patch=spec.patch or {},
        layout=dataset.spec.source.layout,
    )
    return _ready(view, work, order, keys.digest("plan", read.digest))


def preprocessing(view: View[Plans], status: PlansStatus, work: Work, name: str) -> Ready | Blocker:
    """Preprocess the dataset for one configuration, as far as this pass knows the plans."""
    spec, store, dataset = view.object.spec, locations.storage(view), fingerprinted(view)
    for missing in (store, dataset):
        if isinstance(missing, Blocker):
            return missing
    assert isinstance(store, Location)
    assert isinstance(dataset, Dataset)
    read = _dataset_input(view, dataset)
    if isinstance(read, Blocker):
        return read
    if status.artifact is None:
        return Blocker(reasons.WAITING_FOR_PLANS, "waits for the plans")
    order = PreprocessOrder(
        dataset_name=dataset.spec.name,
        dataset=read,
        source=locations.source(dataset, read.location),
        plans=_input(status.artifact, store),
        configuration=name,
        storage=store,
        shards=spec.preprocessing.shards,
        layout=dataset.spec.source.layout,
    )
    return _ready(
        view,
        work,
        order,
        keys.digest("preprocess", read.digest, status.artifact.digest),
        pods=spec.preprocessing.shards,
        resources=spec.preprocessing.resources,
        shared_memory=SHARED_MEMORY,
    )


def training(view: View[TrainingRun], work: Work, fold: str) -> Ready | Blocker:
    """Train one fold."""
    run, spec, store = view.object, view.object.spec, locations.storage(view)
    if isinstance(store, Blocker):
        return store
    found, weights = configuration.preprocessed(view), pretrained.weights(view, store)
    previous = previous_stage.predictions(view, store)
    checked = (
        found,
        weights,
        previous,
        configuration.too_small(view),
        configuration.unfit(view),
        network_compatibility.differ(view),
    )
    blockers = [blocker for blocker in checked if isinstance(blocker, Blocker)]
    if blockers:
        # What only a person can mend is said while something else is waited for.
        return next((blocker for blocker in blockers if blocker.stalls), blockers[0])
    assert isinstance(found, configuration.Preprocessed)
    assert not isinstance(weights, Blocker)
    assert not isinstance(previous, Blocker)
    workers = spec.workers
    order = TrainOrder(
        namespace=run.metadata.namespace,
        run=run.metadata.name,
        dataset_name=found.dataset_name,
        preprocessed=found.data,
        plans=found.plans,
        configuration=spec.configuration,
        fold=fold,
        seed=seed(run),
        storage=store,
        trainer=TrainerChoice(name=spec.trainer.name, base=spec.trainer.base, recipe=spec.trainer.recipe or {}),
        pretrained=weights,
        previous_stage=previous,
        checkpoint=CheckpointPolicy(
            every_epochs=spec.checkpoint.every_epochs, every_minutes=spec.checkpoint.every_minutes, keep=spec.checkpoint.keep
        ),
        validation="Run" if spec.validates else "Skip",
        deterministic=spec.deterministic,
        nodes=workers.nodes,
        gpus_per_node=workers.gpus_per_node,
        plugins=[plugin.config_map_name for plugin in spec.plugins or []],
    )
    start = (weights.sha256 or weights.location.uri) if weights else None
    before = [{fold: given.digest for fold, given in previous.folds.items()}] if previous else []
    return _ready(
        view,
        work,
        order,
        keys.digest("train", found.plans.digest, found.data.digest, start, *before),
        pods=workers.nodes,
        rendezvous=workers.nodes > 1,
        gpus=workers.gpus_per_node,
        gpu_resource=workers.gpu_resource_name,
        queue_name=spec.queue_name,
        plugins=tuple(order.plugins),
        shared_memory=SHARED_MEMORY,
    )


def seed(run: TrainingRun) -> int:
    """The seed asked for, else one that is this run's own.

    Not the fold's: the fold is part of every random key anyway, and a run's folds lie in one results folder, whose address the seed
    is part of.
    """
    if run.spec.seed is not None:
        return run.spec.seed
    return int.from_bytes(hashlib.sha256(str(run.metadata.uid).encode()).digest()[:4], "big")


def fingerprinted(view: View[Plans]) -> Dataset | Blocker:
    """The dataset once it is fingerprinted."""
    found = dependencies.wait_for(view, "Dataset", view.object.spec.dataset_ref.name, "spec.datasetRef", conditions.FINGERPRINTED)
    if isinstance(found, Blocker):
        return found
    assert isinstance(found, Dataset)
    return found if found.status.artifact else dependencies.standing(found, "to be Fingerprinted")


def _transfer(view: View[Plans], work: Work, dataset: Dataset, read: Input, store: Location) -> Ready | Blocker:
    spec = view.object.spec
    transfer = spec.transfer_from
    assert transfer is not None
    source = dependencies.wait_for(view, "Plans", transfer.plans_ref.name, "spec.transferFrom.plansRef", conditions.PLANNED)
    if isinstance(source, Blocker):
        return source
    assert isinstance(source, Plans)
    if source.status.artifact is None or source.status.storage is None or source.status.dataset is None:
        return dependencies.standing(source, "to be Planned")
    patched = (spec.patch or {}).get("configurations") or {}
    for name in spec.preprocessing.configurations:
        if name not in patched and (missing := configuration.unknown(source, name)):
            return missing
    made_for = view.reference("Dataset", source.spec.dataset_ref.name)
    access = locations.storage(view, made_for) if isinstance(made_for, Dataset) else store
    order = TransferOrder(
        from_plans=_input(source.status.artifact, locations.of_status(source.status.storage)),
        from_dataset=_input(source.status.dataset, access if isinstance(access, Location) else store),
        dataset_name=dataset.spec.name,
        dataset=read,
        source=locations.source(dataset, read.location),
        storage=store,
        plans_name=spec.plans_name or f"nnUNetPlans_{transfer.plans_ref.name}",
        normalization=transfer.normalization,
        intensity_properties=transfer.intensity_properties,
        on_mismatch=transfer.on_mismatch,
        patch=spec.patch or {},
        layout=dataset.spec.source.layout,
    )
    return _ready(view, work, order, keys.digest("transfer", read.digest, source.status.artifact.digest))


def _dataset_input(view: View[Any], dataset: Dataset) -> Input | Blocker:
    store = locations.storage(view, dataset)
    if isinstance(store, Blocker):
        return Blocker(store.reason, f"Dataset {dataset.metadata.name} {store.message}")
    assert dataset.status.artifact is not None
    return _input(dataset.status.artifact, store)


def _input(artifact: ArtifactStatus, access: Location) -> Input:
    return Input(location=locations.at(artifact.uri, access), digest=artifact.digest)


def _choice(planner: PlannerSpec | PlannerOverride) -> PlannerChoice:
    return PlannerChoice(
        name=planner.name or PlannerSpec().name,
        gpu_memory_gb=planner.gpu_memory_gb,
        target_spacing=planner.target_spacing,
        parameters=planner.parameters or {},
    )


def _override(base: PlannerSpec, own: PlannerOverride) -> PlannerChoice:
    """Another planner starts afresh; the same one keeps what is not said anew."""
    choice = _choice(own)
    if own.name not in (None, base.name):
        return choice
    return PlannerChoice(
        name=base.name,
        gpu_memory_gb=choice.gpu_memory_gb or base.gpu_memory_gb,
        target_spacing=choice.target_spacing or base.target_spacing,
        parameters={**(base.parameters or {}), **choice.parameters},
    )


def _ready(view: View[Any], work: Work, order: WorkOrder, digest: str, **more: Any) -> Ready:
    owner, settings = view.object, view.settings

    def step(attempt: int) -> Step:
        frozen = dataclasses.replace(order, attempt=attempt) if isinstance(order, TrainOrder) else order
        return Step(
            owner=owner,
            name=names.job(owner, work.part, attempt),
            order=frozen,
            labels=names.labels(owner, work.step, **work.labels, attempt=attempt),
            image=settings.trainer_image,
            image_pull_policy=settings.image_pull_policy,
            priority_class=settings.pod_priority_class,
            template=owner.spec.template or TemplateSpec(),
            **more,
        )

    return Ready(input=digest, order=order, step=step)
