"""Pretend GPUs are requested, granted, counted and given back; a trainer that finds no real one refuses to start."""

from typing import Any

from support.apiclient import wait_until

from ..cluster import BUSYBOX, NAMESPACE, Cluster, training
from ..node.cluster import GPUS

RESOURCE = "nvidia.com/gpu"


def holder(name: str, command: str) -> dict[str, Any]:
    """A pod that has every GPU of the node."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsUser": 1000}
    container = {"name": "hold", "image": BUSYBOX, "command": ["sh", "-c", command], "securityContext": security}
    container["resources"] = {"limits": {RESOURCE: str(GPUS)}}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    spec["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def run(cluster: Cluster) -> str:
    name = "on-gpus"
    cluster.apply(holder("holder", "trap 'exit 0' TERM; while :; do sleep 0.2; done"))
    wait_until(lambda: phase(cluster, "holder") == "Running", timeout=60, what="a pod to be granted all GPUs")
    cluster.apply(training(name, workers={"nodes": 1, "gpusPerNode": 1}, failurePolicy={"maxRestarts": 0}))

    def waits() -> str | None:
        condition = cluster.condition("TrainingRun", name)
        return str(condition["message"]) if condition.get("reason") == "Unschedulable" else None

    counted = wait_until(waits, timeout=90, what=lambda: f"the run to wait for a GPU: {cluster.said('TrainingRun', name)}")
    assert RESOURCE in counted, counted
    (pod,) = cluster.pods(name)
    assert pod["spec"]["containers"][0]["resources"]["limits"][RESOURCE] == "1"
    granted = cluster.node.processes.log("gpu-plugin").count("granted")
    cluster.kubectl("delete", "pod", "holder")

    def refused() -> str | None:
        stalled = cluster.condition("TrainingRun", name, "Stalled")
        return str(stalled["message"]) if stalled["status"] == "True" else None

    message = wait_until(refused, timeout=180, what=lambda: f"the trainer to refuse: {cluster.said('TrainingRun', name)}")
    assert "GPU" in message, message
    assert "torch" in message, message
    assert cluster.node.processes.log("gpu-plugin").count("granted") == granted + 1
    cluster.apply(holder("next", "echo granted $NVIDIA_VISIBLE_DEVICES"))
    wait_until(lambda: phase(cluster, "next") == "Succeeded", timeout=60, what="all GPUs to be granted again")
    assert cluster.kubectl("logs", "next").count("GPU-pretend-") == GPUS
    cluster.kubectl("delete", "pod", "next")
    cluster.delete("TrainingRun", name)
    return f"{counted} | {message}"


def phase(cluster: Cluster, pod: str) -> str:
    return str((cluster.api.get("v1", "Pod", NAMESPACE, pod) or {}).get("status", {}).get("phase", ""))
