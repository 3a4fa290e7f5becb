"""What Kubernetes' Job controller does, as a pure function: from a Job and its pods to its status and what to create and delete.

It knows Jobs as `manifests.job` writes them: no retries (`backoffLimit: 0`), rules that fail the Job, and, where there are several
pods, one an index and all at once. Reasons and messages are Kubernetes' own (pkg/controller/job), since the reconcilers read them.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nnunet_trainer.contract.pod import ENV_SHARD

from ...api.base import format_time
from ...api.conditions import condition_of
from ...manifests.names import COMPLETION_INDEX, CONTROLLER_UID, JOB_NAME

Manifest = dict[str, Any]

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Of the random end of a pod's name, as Kubernetes has it."""


@dataclass(kw_only=True)
class SyncResult:
    """What to do about a Job now."""

    status: Manifest
    create: list[Manifest] = field(default_factory=list)
    delete: list[Manifest] = field(default_factory=list)
    gone: bool = False  # it was being deleted, and nothing of it is left


def finished(job: Manifest) -> str | None:
    """`Complete` or `Failed`, or None while a Job has an end before it."""
    return next((type_ for type_ in ("Complete", "Failed") if condition_of(job, type_, "True")), None)


def sync(job: Manifest, pods: list[Manifest], now: datetime) -> SyncResult:
    """One turn of the Job controller.

    Args:
        job: the Job.
        pods: all pods that it owns.
        now: this moment.
    """
    result = SyncResult(status=copy.deepcopy(job.get("status", {})))
    if job["metadata"].get("deletionTimestamp"):
        result.delete = [pod for pod in pods if not _ending(pod)]
        result.gone = not pods
        return result
    if finished(job):
        return result
    living = [pod for pod in pods if _phase(pod) not in ("Succeeded", "Failed")]
    result.status.setdefault("startTime", format_time(now))
    if verdict := _verdict(job, pods):
        _end(result, living, "FailureTarget", "Failed", verdict, now)
        return result
    done = {_index(pod) for pod in pods if _phase(pod) == "Succeeded"}
    completions = job["spec"].get("completions", 1)
    if len(done) >= completions:
        reached = ("CompletionsReached", "Reached expected number of succeeded pods")
        _end(result, living, "SuccessCriteriaMet", "Complete", reached, now)
        return result
    busy = {_index(pod) for pod in living} | done
    result.create = [_pod(job, index) for index in range(completions) if index not in busy]
    return result


def _end(result: SyncResult, living: list[Manifest], before: str, at_last: str, verdict: tuple[str, str], now: datetime) -> None:
    """Say how the Job is about to end; once no pod lives any more, that it has."""
    if not (said := condition_of({"status": result.status}, before, "True")):
        said = _add_condition(result.status, before, *verdict, now)
    result.delete = [pod for pod in living if not _ending(pod)]
    if not living:
        _add_condition(result.status, at_last, said["reason"], said["message"], now)


def _verdict(job: Manifest, pods: list[Manifest]) -> tuple[str, str] | None:
    """Why the Job must fail: reason and message, or None. What was said once stays, though the pod be gone."""
    if target := condition_of(job, "FailureTarget", "True"):
        return target["reason"], target["message"]
    failed = [pod for pod in pods if _phase(pod) == "Failed"]
    for pod in failed:
        if message := _rule_met(job, pod):
            return "PodFailurePolicy", message
    return ("BackoffLimitExceeded", "Job has reached the specified backoff limit") if failed else None


def _rule_met(job: Manifest, pod: Manifest) -> str | None:
    """The message of the first rule of the podFailurePolicy that a failed pod meets."""
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for i, rule in enumerate(job["spec"]["podFailurePolicy"]["rules"]):
        if codes := rule.get("onExitCodes"):
            for container in pod["status"].get("containerStatuses", []):
                code = (container["state"].get("terminated") or {}).get("exitCode", 0)
                if container["name"] == codes["containerName"] and code in codes["values"]:
                    said = f"Container {container['name']} for pod {name} failed with exit code {code}"
                    return f"{said} matching FailJob rule at index {i}"
        for pattern in rule.get("onPodConditions") or []:
            if condition_of(pod, pattern["type"], pattern["status"]):
                return f"Pod {name} has condition {pattern['type']} matching FailJob rule at index {i}"
    return None


def _pod(job: Manifest, index: int) -> Manifest:
    template, meta = copy.deepcopy(job["spec"]["template"]), job["metadata"]
    head = template.get("metadata") or {}
    labels = {**(head.get("labels") or {}), JOB_NAME: meta["name"], CONTROLLER_UID: meta["uid"]}
    annotations = dict(head.get("annotations") or {})
    name = meta["name"]
    if job["spec"].get("completionMode") == "Indexed":
        name = f"{name}-{index}"
        labels[COMPLETION_INDEX] = annotations[COMPLETION_INDEX] = str(index)
        field_path = f"metadata.labels['{COMPLETION_INDEX}']"
        container = template["spec"]["containers"][0]
        container["env"] = [
            *(container.get("env") or []),
            {"name": ENV_SHARD, "valueFrom": {"fieldRef": {"fieldPath": field_path}}},
        ]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{''.join(random.choices(ALPHABET, k=5))}",
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    }


def _index(pod: Manifest) -> int:
    return int(pod["metadata"].get("annotations", {}).get(COMPLETION_INDEX, 0))


def _phase(pod: Manifest) -> str:
    return str(pod.get("status", {}).get("phase", "Pending"))


def _ending(pod: Manifest) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _add_condition(status: Manifest, type_: str, reason: str, message: str, now: datetime) -> Manifest:
    at = format_time(now)
    new = {"type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": at, "lastProbeTime": at}
    status.setdefault("conditions", []).append(new)
    if type_ == "Complete":
        status["completionTime"] = at
    return new
