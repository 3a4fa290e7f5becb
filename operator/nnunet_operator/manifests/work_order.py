"""The immutable ConfigMap in which a work order is frozen."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract import CONTRACT_VERSION
from nnunet_trainer.contract.pod import ORDER_FILE
from nnunet_trainer.contract.work_order import encode

from . import names
from .job_parameters import JobParameters


def name(parameters: JobParameters) -> str:
    """The ConfigMap's name, which holds the order's digest."""
    return names.config_map(parameters.name, encode(parameters.order))


def config_map(parameters: JobParameters) -> dict[str, Any]:
    """What the Job is to do; no later edit of the owner, and no upgrade of the operator, changes it."""
    text = encode(parameters.order)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.config_map(parameters.name, text),
            "namespace": parameters.owner.metadata.namespace,
            "labels": {**parameters.labels, names.CONTRACT: str(CONTRACT_VERSION)},
            "ownerReferences": [names.owner_reference(parameters.owner)],
        },
        "immutable": True,
        "data": {ORDER_FILE: text},
    }
