"""The headless Service by which the pods of a multi-node training find each other."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.pod import RENDEZVOUS_PORT

from . import names
from .step import Step


def headless(step: Step) -> dict[str, Any]:
    """`<job>-<index>.<job>` resolves as soon as the pod has an address: rank 0 is looked for before it is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": step.name,
            "namespace": step.owner.metadata.namespace,
            "labels": dict(step.labels),
            "ownerReferences": [names.owner_reference(step.owner)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.JOB_NAME: step.name},
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT, "protocol": "TCP"}],
        },
    }


def leader_address(step: Step) -> str:
    """Where rank 0 listens."""
    return f"{step.name}-0.{step.name}"
