"""From an order to what starts a piece of work."""

from __future__ import annotations

import dataclasses
from typing import Any

from nnunet_trainer.contract.work_order import TrainOrder, WorkOrder

from ...api.resources import Resource
from ...api.template import TemplateSpec
from ...manifests import names
from ...manifests.job_parameters import JobParameters
from ..view import Settings
from ..work import Startable, Work

SHARED_MEMORY = "2Gi"
"""Limit of /dev/shm where the template names none; only what is used counts as memory."""


FOR_SCHEDULERS = frozenset(
    ("job_labels", "job_annotations", "topology_spread_constraints", "scheduler_name", "resource_claims", "dataset_cache")
)
"""Fields of the template that mean nothing where one machine runs all that there is."""


def startable(owner: Resource, settings: Settings, work: Work, order: WorkOrder, digest: str, **more: Any) -> Startable:
    """Work whose order is known: each attempt's Job carries it. `more`: what else `JobParameters` holds."""

    template = owner.spec.template or TemplateSpec()
    placed = {"queue_name": owner.spec.queue_name, "managed_by": owner.spec.managed_by}
    if settings.one_machine:
        template = template.model_copy(update=dict.fromkeys(template.model_fields_set & FOR_SCHEDULERS))
        more, placed = {**more, "gpu_claim": None}, {}

    def job(attempt: int) -> JobParameters:
        frozen = dataclasses.replace(order, attempt=attempt) if isinstance(order, TrainOrder) else order
        return JobParameters(
            owner=owner,
            name=names.job(owner, work.part, attempt),
            order=frozen,
            labels=names.labels(owner, work.step, **work.labels, attempt=attempt),
            image=settings.trainer_image,
            image_pull_policy=settings.image_pull_policy,
            priority_class=settings.pod_priority_class,
            default_resources=settings.pod_resources,
            template=template,
            plugins=tuple(getattr(order, "plugins", ())),
            gang=settings.gang_scheduling and bool(more.get("rendezvous")),
            **placed,
            **more,
        )

    return Startable(input=digest, order=order, job=job)
