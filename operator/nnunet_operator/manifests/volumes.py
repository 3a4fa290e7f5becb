"""A pod's volumes: the order, one a Secret, one a CA, one a plug-in, one a claim, a cache, and the pod's own disks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nnunet_trainer.contract import pod, uri
from nnunet_trainer.contract.work_order import Location

from ..api.template import ScratchSpec
from .job_parameters import JobParameters

TMP_MOUNT = "/tmp"
SHM_MOUNT = "/dev/shm"


@dataclass(slots=True)
class Volumes:
    """Volumes and where they are mounted, in step."""

    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, source: dict[str, Any], path: str, *, read_only: bool = False) -> None:
        """One volume, mounted at one path."""
        self.volumes.append({"name": name, **source})
        self.mounts.append({"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})})


def of(parameters: JobParameters, order_config_map: str) -> Volumes:
    """All volumes of a step's pod, each Secret, ConfigMap and claim once, in a fixed order."""
    places = list(locations(parameters.order))
    found = Volumes()
    found.add("order", {"configMap": {"name": order_config_map}}, pod.ORDER_MOUNT, read_only=True)
    for i, secret in enumerate(sorted({p.secret_name for p in places if p.secret_name})):
        found.add(f"secret-{i}", {"secret": {"secretName": secret}}, f"{pod.SECRETS_MOUNT}/{secret}", read_only=True)
    for i, ca in enumerate(sorted({p.ca_config_map for p in places if p.ca_config_map})):
        found.add(f"ca-{i}", {"configMap": {"name": ca}}, f"{pod.CA_MOUNT}/{ca}", read_only=True)
    for i, plugin in enumerate(sorted(set(parameters.plugins))):
        # Optional: the trainer says at once what is missing; else the pod would hold its GPUs until the pre-running deadline.
        source = {"configMap": {"name": plugin, "optional": True}}
        found.add(f"plugin-{i}", source, f"{pod.PLUGINS_MOUNT}/{plugin}", read_only=True)
    for i, claim in enumerate(sorted({name for p in places if (name := uri.claim(p.uri))})):
        found.add(f"claim-{i}", {"persistentVolumeClaim": {"claimName": claim}}, f"{pod.CLAIMS_MOUNT}/{claim}")
    if cache := parameters.template.dataset_cache:
        source = {"persistentVolumeClaim": {"claimName": cache.claim_name, "readOnly": True}}
        found.add("dataset-cache", source, pod.DATASET_CACHE_MOUNT, read_only=True)
    found.add("scratch", _scratch(parameters.template.scratch), pod.SCRATCH_MOUNT)
    found.add("tmp", {"emptyDir": {}}, TMP_MOUNT)
    size = parameters.template.shared_memory.size if parameters.template.shared_memory else parameters.shared_memory
    if size:
        found.add("shm", {"emptyDir": {"medium": "Memory", "sizeLimit": size}}, SHM_MOUNT)
    return found


def locations(order: Any) -> Iterator[Location]:
    """Every place that a work order names."""
    if isinstance(order, Location):
        yield order
    elif dataclasses.is_dataclass(order):
        for part in dataclasses.fields(order):
            yield from locations(getattr(order, part.name))


def _scratch(spec: ScratchSpec | None) -> dict[str, Any]:
    if spec is None or spec.size is None:
        return {"emptyDir": {}}
    if spec.storage_class_name is None:
        return {"emptyDir": {"sizeLimit": spec.size}}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": spec.storage_class_name,
        "resources": {"requests": {"storage": spec.size}},
    }
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
