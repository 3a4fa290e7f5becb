"""The PodGroup by which a scheduler places all pods of a training on several nodes at once, or none of them.

`spec.scheduling` of a Job would not do: Kubernetes' Job controller makes no PodGroup of it for a Job that has a controller, as ours
have (getManagementMode in pkg/controller/job of Kubernetes 1.37).
"""

from __future__ import annotations

from typing import Any

from . import names
from .job_parameters import JobParameters

GROUP, VERSION = "scheduling.k8s.io", "v1beta1"


def gang(parameters: JobParameters) -> dict[str, Any]:
    """All pods of one attempt, under the Job's name."""
    asked = parameters.template.priority_class_name or parameters.priority_class
    priority = {"priorityClassName": asked} if asked else {}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "PodGroup",
        "metadata": {
            "name": parameters.name,
            "namespace": parameters.owner.metadata.namespace,
            "labels": dict(parameters.labels),
            "ownerReferences": [names.owner_reference(parameters.owner)],
        },
        "spec": {"schedulingPolicy": {"gang": {"minCount": parameters.pods}}, **priority},
    }
