"""The order that deletes a TrainingRun's results."""

from __future__ import annotations

import dataclasses

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.work_order import DeleteResultsOrder

from ...api.resources import TrainingRun
from ...api.template import ResourcesSpec
from ...manifests.job_parameters import JobParameters
from .. import locations
from ..blocker import Blocker
from ..view import Settings
from ..work import Startable, Work
from .startable import startable

RESOURCES = ResourcesSpec(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "1Gi"})
NOT_NEEDED = ("scratch", "shared_memory", "runtime_class_name", "resource_claims", "dataset_cache", "topology_spread_constraints")
"""It lists and deletes; what a training asks for is not for it, nor is a queue, nor who runs what comes from one."""


def delete_results(run: TrainingRun, settings: Settings, work: Work) -> Startable | Blocker:
    """Delete what the run has left in its storage; or why that cannot be."""
    store = locations.storage(run, settings)
    if isinstance(store, Blocker):
        return store
    meta = run.metadata
    order = DeleteResultsOrder(namespace=meta.namespace, run=meta.name, owner=meta.uid, storage=store)
    made = startable(run, settings, work, order, keys.digest(order.step, store.uri, meta.uid), resources=RESOURCES)

    def job(attempt: int) -> JobParameters:
        parameters = made.job(attempt)
        small = parameters.template.model_copy(update=dict.fromkeys(NOT_NEEDED))
        return dataclasses.replace(parameters, template=small, queue_name=None, managed_by=None)

    return dataclasses.replace(made, job=job)
