"""A pod's status as a kubelet writes it, from what its process did. Pure functions on plain data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ....api.base import format_time

Manifest = dict[str, Any]

MESSAGE_BYTES, LOG_BYTES, LOG_LINES = 4096, 2048, 80
"""What the kubelet keeps of a termination message, and of a log that takes its place."""


def timestamp(seconds: float) -> str:
    """Unix seconds as Kubernetes writes them."""
    return format_time(datetime.fromtimestamp(seconds, UTC))


def _tail(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read()
    except FileNotFoundError:
        return b""


def termination_message(folder: Path, log: Path, container: Manifest, exit_code: int) -> str:
    """The tail of what the process left, or of its log when it failed without a word and the pod asks for that."""
    message = _tail(folder / "termination-log", MESSAGE_BYTES)
    if not message and exit_code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        message = b"".join(_tail(log, LOG_BYTES).splitlines(keepends=True)[-LOG_LINES:])
    return message.decode(errors="replace")


def condition(type_: str, status: bool, at: str, reason: str = "", message: str = "") -> Manifest:
    """One condition; empty texts are left out."""
    said = {"reason": reason, "message": message}
    return {
        "type": type_,
        "status": "True" if status else "False",
        "lastTransitionTime": at,
        **{k: v for k, v in said.items() if v},
    }


def with_condition(status: Manifest, new: Manifest) -> Manifest:
    """A status with one condition set; its time of transition stays while its status does."""
    conditions = list(status.get("conditions") or [])
    for i, old in enumerate(conditions):
        if old["type"] == new["type"]:
            at = old["lastTransitionTime"] if old["status"] == new["status"] else new["lastTransitionTime"]
            conditions[i] = {**new, "lastTransitionTime": at}
            break
    else:
        conditions.append(new)
    return {**status, "conditions": conditions}


def _container(pod: Manifest, state: Manifest, *, running: bool) -> Manifest:
    container = pod["spec"]["containers"][0]
    image = container.get("image", "")
    return {"name": container["name"], "image": image, "imageID": image, "restartCount": 0, "ready": running, "state": state}


def scheduled(status: Manifest, at: float) -> Manifest:
    """The pod has its share of the machine."""
    return with_condition({"phase": "Pending", **status}, condition("PodScheduled", True, timestamp(at)))


def unschedulable(status: Manifest, at: float, message: str) -> Manifest:
    """The pod waits for room."""
    return with_condition({"phase": "Pending", **status}, condition("PodScheduled", False, timestamp(at), "Unschedulable", message))


def waiting(pod: Manifest, reason: str, message: str) -> Manifest:
    """The pod has its share, and cannot start yet."""
    status = _container(pod, {"waiting": {"reason": reason, "message": message}}, running=False)
    return {**pod.get("status", {}), "phase": "Pending", "containerStatuses": [status]}


def running(pod: Manifest, ip: str, started: float) -> Manifest:
    """The process runs."""
    at = timestamp(started)
    status = {**pod.get("status", {}), "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
    status.setdefault("startTime", at)
    status["containerStatuses"] = [_container(pod, {"running": {"startedAt": at}}, running=True)]
    return with_condition(status, condition("Ready", True, at))


def terminated(pod: Manifest, end: Manifest, message: str, ip: str | None = None) -> Manifest:
    """The process has ended.

    Args:
        pod: its manifest.
        end: exit.json of the shim.
        message: the termination message.
        ip: that it had; nobody may have seen it running.
    """
    code, at = end["exitCode"], timestamp(end["finishedAt"])
    killed = end["signal"] == 9 and not end["asked"] and end["oomKills"] > 0
    state = {"exitCode": code, "reason": "OOMKilled" if killed else "Completed" if code == 0 else "Error"}
    state |= {"startedAt": timestamp(end["startedAt"]), "finishedAt": at}
    status = {**pod.get("status", {}), "phase": "Succeeded" if code == 0 else "Failed"}
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    status["containerStatuses"] = [
        _container(pod, {"terminated": {**state, **({"message": message} if message else {})}}, running=False)
    ]
    return with_condition(status, condition("Ready", False, at, "PodCompleted" if code == 0 else "PodFailed"))


def lost(pod: Manifest, at: float, message: str) -> Manifest:
    """The process is gone and nobody knows how it ended: the machine, or the process's shim, went down."""
    state = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": message}
    status = {**pod.get("status", {}), "phase": "Failed", "reason": "NodeLost", "message": message}
    status["containerStatuses"] = [_container(pod, {"terminated": state}, running=False)]
    status = with_condition(status, condition("Ready", False, timestamp(at), "PodFailed"))
    return disrupted(status, at, "DeletionByPodGC", message)


def disrupted(status: Manifest, at: float, reason: str, message: str) -> Manifest:
    """Mark a pod whose end is the machine's doing, not its own."""
    return with_condition(status, condition("DisruptionTarget", True, timestamp(at), reason, message))
