"""Fields of a spec that say where and when in a cluster its Jobs run: ignored where one machine runs all that there is."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]

FIELDS = (
    "queueName",
    "managedBy",
    "workers.gpuResourceClaim",
    "template.jobLabels",
    "template.jobAnnotations",
    "template.nodeSelector",
    "template.affinity",
    "template.tolerations",
    "template.topologySpreadConstraints",
    "template.priorityClassName",
    "template.schedulerName",
    "template.resourceClaims",
    "template.datasetCache",
)


def of(manifest: Manifest) -> list[str]:
    """The fields of an object's spec that are given and ignored."""
    return [field for field in FIELDS if _value(manifest.get("spec"), field) is not None]


def _value(spec: Any, path: str) -> Any:
    for name in path.split("."):
        spec = spec.get(name) if isinstance(spec, dict) else None
    return spec
