"""The immutable ConfigMap in which a work order is frozen."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract import CONTRACT_VERSION
from nnunet_trainer.contract.pod import ORDER_FILE
from nnunet_trainer.contract.work_order import encode

from . import names
from .step import Step


def config_map(step: Step) -> dict[str, Any]:
    """What the Job is to do; no later edit of the owner, and no upgrade of the operator, changes it."""
    text = encode(step.order)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.config_map(step.name, text),
            "namespace": step.owner.metadata.namespace,
            "labels": {**step.labels, names.CONTRACT: str(CONTRACT_VERSION)},
            "ownerReferences": [names.owner_reference(step.owner)],
        },
        "immutable": True,
        "data": {ORDER_FILE: text},
    }
