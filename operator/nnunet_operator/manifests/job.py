"""The Job of one attempt. It never retries by itself: its Failed condition tells the operator what happened."""

from __future__ import annotations

import copy
from typing import Any

from nnunet_trainer.contract.faults import PERMANENT

from . import names, order, pod, service
from .step import Step

FAILURE_RULES: list[dict[str, Any]] = [
    {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {
        "action": "FailJob",
        "onExitCodes": {"containerName": pod.CONTAINER, "operator": "In", "values": sorted(int(code) for code in PERMANENT)},
    },
]
"""In this order: a pod that is evicted may end with any exit code."""


def job(step: Step, order_config_map: str) -> dict[str, Any]:
    """The Job itself, which reads its order from that ConfigMap."""
    labels = dict(step.labels)
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": copy.deepcopy(FAILURE_RULES)},
        "template": pod.template(step, order_config_map),
    }
    if step.pods > 1:
        spec |= {"completionMode": "Indexed", "completions": step.pods, "parallelism": step.pods}
    if step.queue_name:
        # Written once, at creation: from then on `suspend` is Kueue's.
        labels[names.QUEUE] = step.queue_name
        spec["suspend"] = True
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": step.name,
            "namespace": step.owner.metadata.namespace,
            "labels": labels,
            "ownerReferences": [names.owner_reference(step.owner)],
        },
        "spec": spec,
    }


def children(step: Step) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All that one attempt needs: what is applied first (its order, its Service), and the Job that is created then."""
    frozen = order.config_map(step)
    first = [frozen, service.headless(step)] if step.rendezvous else [frozen]
    return first, job(step, frozen["metadata"]["name"])
