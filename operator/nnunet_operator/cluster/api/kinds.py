"""The kinds of Kubernetes objects that the operator touches, and where the API server keeps them."""

from __future__ import annotations

from typing import NamedTuple

from ...api.resources import GROUP, PLURALS, VERSION
from ...manifests import names, pod_group

MANAGED = f"{names.MANAGED_BY}={names.MANAGER}"
"""What a child is known by; Jobs and Pods are watched by it, on the server's side."""

FIELD_MANAGER = names.MANAGER


class ApiKind(NamedTuple):
    """A kind, where it is served, and whether it is watched by label."""

    kind: str
    group: str
    version: str
    plural: str
    selector: str = ""

    @property
    def api_version(self) -> str:
        """As it stands in a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", sub: str = "") -> str:
        """The path of a collection (of all namespaces: None), an object or its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(part for part in (f"{root}{place}/{self.plural}", name, sub) if part)


OURS = {kind: ApiKind(kind, GROUP, VERSION, plural) for kind, plural in PLURALS.items()}
JOB = ApiKind("Job", "batch", "v1", "jobs", MANAGED)
POD = ApiKind("Pod", "", "v1", "pods", MANAGED)
WORKLOAD = ApiKind("Workload", "kueue.x-k8s.io", "v1beta2", "workloads")
"""Kueue's. Of its versions the one that the cluster prefers is read."""
WATCHED = {**OURS, "Job": JOB, "Pod": POD}
NAMESPACE = ApiKind("Namespace", "", "v1", "namespaces")
KINDS = {
    **WATCHED,
    "ConfigMap": ApiKind("ConfigMap", "", "v1", "configmaps"),
    "Service": ApiKind("Service", "", "v1", "services"),
    "PodGroup": ApiKind("PodGroup", pod_group.GROUP, pod_group.VERSION, "podgroups"),
    "NetworkPolicy": ApiKind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
    "Event": ApiKind("Event", "", "v1", "events"),
    "Lease": ApiKind("Lease", "coordination.k8s.io", "v1", "leases"),
}
