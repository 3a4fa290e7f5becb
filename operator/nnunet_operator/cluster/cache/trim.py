"""What is not kept of an object that is watched: of Jobs and pods, which are many, what no reconciler reads."""

from __future__ import annotations

from typing import Any

from ...reconcile.view import Manifest

OF_METADATA = frozenset({"managedFields"})
OF_A_CHILD = OF_METADATA | {"finalizers", "generation"}
"""Jobs and pods: the finalizers are the Job controller's, for its counting."""
OF_A_POD = frozenset({"containers", "initContainers", "tolerations", "affinity", "securityContext", "nodeSelector"})
OF_A_JOB = frozenset({"podFailurePolicy", "selector"})
OF_A_JOB_STATUS = frozenset({"uncountedTerminatedPods", "active", "ready", "terminating", "succeeded", "failed", "startTime"})
"""Its pods are looked at themselves: a change of their number is no news."""
OF_A_POD_STATUS = frozenset({"hostIPs", "podIPs", "qosClass"})


def trimmed(manifest: Manifest) -> Manifest:
    """An object without what nobody reads; the manifest itself stays as it is."""
    is_child = manifest["kind"] in ("Job", "Pod")
    found = {**manifest, "metadata": _without(manifest["metadata"], OF_A_CHILD if is_child else OF_METADATA)}
    spec, status = manifest.get("spec"), manifest.get("status")
    if manifest["kind"] == "Pod":
        if spec:
            found["spec"] = _without(spec, OF_A_POD)
        if status:
            found["status"] = _without(status, OF_A_POD_STATUS)
    elif manifest["kind"] == "Job":
        if spec:
            found["spec"] = _without(spec, OF_A_JOB)
            if template := spec.get("template"):
                found["spec"]["template"] = {"spec": _without(template.get("spec") or {}, OF_A_POD)}
        if status:
            found["status"] = _without(status, OF_A_JOB_STATUS)
    return found


def _without(fields: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}
