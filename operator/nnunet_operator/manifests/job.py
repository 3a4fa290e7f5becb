"""The Job of one attempt. It never retries by itself: its Failed condition tells the operator what happened."""

from __future__ import annotations

import copy
import json
from typing import Any

from nnunet_trainer.contract.faults import PERMANENT
from nnunet_trainer.contract.work_order import TrainOrder, WorkOrder

from . import names, pod, pod_group, service, work_order
from .job_parameters import JobParameters

FAILURE_RULES: list[dict[str, Any]] = [
    {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {
        "action": "FailJob",
        "onExitCodes": {"containerName": pod.CONTAINER, "operator": "In", "values": sorted(int(code) for code in PERMANENT)},
    },
]
"""In this order: a pod that is evicted may end with any exit code."""


def job(parameters: JobParameters, order_config_map: str) -> dict[str, Any]:
    """The Job itself, which reads its order from that ConfigMap."""
    labels = {**pod.a_persons(parameters.template.job_labels), **parameters.labels}
    annotations = {**pod.a_persons(parameters.template.job_annotations), **_annotations(parameters.order)}
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": copy.deepcopy(FAILURE_RULES)},
        "template": pod.template(parameters, order_config_map),
    }
    if parameters.pods > 1:
        spec |= {"completionMode": "Indexed", "completions": parameters.pods, "parallelism": parameters.pods}
    if parameters.queue_name:
        # Written once, at creation: from then on `suspend` is Kueue's.
        labels[names.QUEUE] = parameters.queue_name
        spec["suspend"] = True
    if parameters.managed_by:
        spec["managedBy"] = parameters.managed_by
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": parameters.name,
            "namespace": parameters.owner.metadata.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [names.owner_reference(parameters.owner)],
        },
        "spec": spec,
    }


def children(parameters: JobParameters) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All that one attempt needs: what is applied first (its order, Service, PodGroup), and the Job that is created then."""
    frozen = work_order.config_map(parameters)
    first = [frozen]
    if parameters.rendezvous:
        first.append(service.headless(parameters))
    if parameters.gang:
        first.append(pod_group.gang(parameters))
    return first, job(parameters, frozen["metadata"]["name"])


def _annotations(order: WorkOrder) -> dict[str, str]:
    found = {names.STORAGE_URI: order.storage.uri}
    if isinstance(order, TrainOrder):
        found[names.SEED] = str(order.seed)
        if order.plugin_digests:
            found[names.PLUGIN_DIGESTS] = json.dumps(order.plugin_digests, sort_keys=True)
    return found
