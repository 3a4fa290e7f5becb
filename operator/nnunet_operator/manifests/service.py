"""The headless Service by which the pods of a multi-node training find each other."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.pod import RENDEZVOUS_PORT

from . import names
from .job_parameters import JobParameters


def headless(parameters: JobParameters) -> dict[str, Any]:
    """`<job>-<index>.<job>` resolves as soon as the pod has an address: rank 0 is looked for before it is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": parameters.name,
            "namespace": parameters.owner.metadata.namespace,
            "labels": dict(parameters.labels),
            "ownerReferences": [names.owner_reference(parameters.owner)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.JOB_NAME: parameters.name},
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT, "protocol": "TCP"}],
        },
    }


def leader_address(parameters: JobParameters) -> str:
    """Where rank 0 listens."""
    return f"{parameters.name}-0.{parameters.name}"
