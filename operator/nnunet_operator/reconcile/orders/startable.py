"""From an order to what starts a piece of work."""

from __future__ import annotations

import dataclasses
from typing import Any

from nnunet_trainer.contract.work_order import TrainOrder, WorkOrder

from ...api.common import TemplateSpec
from ...api.resources import Resource
from ...manifests import names
from ...manifests.job_parameters import JobParameters
from ..view import Settings
from ..work import Startable, Work

SHARED_MEMORY = "2Gi"
"""Limit of /dev/shm where the template names none; only what is used counts as memory."""


def startable(owner: Resource, settings: Settings, work: Work, order: WorkOrder, digest: str, **more: Any) -> Startable:
    """Work whose order is known: each attempt's Job carries it. `more`: what else `JobParameters` holds."""

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
            template=owner.spec.template or TemplateSpec(),
            **more,
        )

    return Startable(input=digest, order=order, job=job)
