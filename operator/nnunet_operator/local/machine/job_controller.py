"""What Kubernetes' Job controller does, as a pure function: from a Job and its pods to its status and what to create and delete.

Reasons and messages are Kubernetes' own (pkg/controller/job), since the reconcilers read them.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Manifest = dict[str, Any]

INDEX = "batch.kubernetes.io/job-completion-index"
BACKOFF, BACKOFF_CAP = timedelta(seconds=10), timedelta(minutes=10)
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(kw_only=True)
class Step:
    """What to do about a Job now."""

    status: Manifest
    create: list[Manifest] = field(default_factory=list)
    delete: list[Manifest] = field(default_factory=list)
    gone: bool = False  # it was being deleted, and nothing of it is left
    again_at: datetime | None = None


def finished(job: Manifest) -> str | None:
    """`Complete` or `Failed`, or None while a Job has an end before it."""
    return next((type_ for type_ in ("Complete", "Failed") if _condition(job.get("status", {}), type_)), None)


def sync(job: Manifest, pods: list[Manifest], now: datetime) -> Step:
    """One turn of the Job controller.

    Args:
        job: the Job.
        pods: all pods that it owns.
        now: this moment.
    """
    spec, status = job["spec"], copy.deepcopy(job.get("status", {}))
    step = Step(status=status)
    living = [pod for pod in pods if not _over(pod)]
    if job["metadata"].get("deletionTimestamp"):
        step.delete = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        step.gone = not pods
        _count(step, pods)
        return step
    if finished(job):
        return step
    at = _time(now)
    if spec.get("suspend"):
        step.delete = [pod for pod in living if not pod["metadata"].get("deletionTimestamp")]
        _set(status, "Suspended", "True", "JobSuspended", "Job suspended", at)
        status.pop("startTime", None)
        _count(step, pods)
        return step
    if any(c["type"] == "Suspended" for c in status.get("conditions", [])):
        _set(status, "Suspended", "False", "JobResumed", "Job resumed", at)
    status.setdefault("startTime", at)
    _decide(job, pods, living, now, step)
    _count(step, pods)
    return step


def _decide(job: Manifest, pods: list[Manifest], living: list[Manifest], now: datetime, step: Step) -> None:
    spec, status, at = job["spec"], step.status, _time(now)
    failed = [pod for pod in pods if _phase(pod) == "Failed" and _counts(job, pod)]
    done = {_index(pod) for pod in pods if _phase(pod) == "Succeeded"}
    succeeded = len(done) if _indexed(spec) else sum(_phase(pod) == "Succeeded" for pod in pods)
    completions = spec.get("completions") or spec.get("parallelism", 1)
    lost_indexes = _failed_indexes(spec, failed)
    target = _condition(status, "FailureTarget")
    if target is None and (verdict := _verdict(job, pods, failed, lost_indexes, done, completions, now)):
        _set(status, "FailureTarget", "True", *verdict, at)
        target = _condition(status, "FailureTarget")
    if target is not None:
        step.delete = [pod for pod in living if not pod["metadata"].get("deletionTimestamp")]
        if not living:
            _set(status, "Failed", "True", target["reason"], target["message"], at)
        return
    if succeeded >= completions:
        said = ("CompletionsReached", "Reached expected number of succeeded pods")
        _set(status, "SuccessCriteriaMet", "True", *said, at)
        step.delete = [pod for pod in living if not pod["metadata"].get("deletionTimestamp")]
        if not living:
            _set(status, "Complete", "True", *said, at)
            status["completionTime"] = at
        return
    if deadline := spec.get("activeDeadlineSeconds"):
        step.again_at = _moment(status["startTime"]) + timedelta(seconds=deadline)
    if failed and (wait := _backoff_ends(failed)) > now:
        step.again_at = min(wait, step.again_at or wait)
        return
    room = spec.get("parallelism", 1) - len(living)
    if _indexed(spec):
        busy = {_index(pod) for pod in living} | done | lost_indexes
        free = [i for i in range(completions) if i not in busy]
        step.create = [_pod(job, i) for i in free[: max(0, room)]]
    else:
        missing = completions - succeeded - len(living)
        step.create = [_pod(job, None) for _ in range(max(0, min(room, missing)))]


def _verdict(
    job: Manifest,
    pods: list[Manifest],
    failed: list[Manifest],
    lost: set[int | None],
    done: set[int | None],
    completions: int,
    now: datetime,
) -> tuple[str, str] | None:
    """Why the Job must fail: reason and message, or None."""
    spec = job["spec"]
    for pod in pods:
        if _phase(pod) == "Failed" and (match := _match(job, pod)) and match[0] == "FailJob":
            return "PodFailurePolicy", match[1]
    per_index = "backoffLimitPerIndex" in spec
    if len(failed) > spec.get("backoffLimit", 2**31 - 1 if per_index else 6):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    if lost and len(lost) > spec.get("maxFailedIndexes", completions):
        return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
    if lost and len(lost | done) >= completions:
        return "FailedIndexes", "Job has failed indexes"
    deadline, started = spec.get("activeDeadlineSeconds"), job.get("status", {}).get("startTime")
    if deadline and started and now >= _moment(started) + timedelta(seconds=deadline):
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def _match(job: Manifest, pod: Manifest) -> tuple[str, str] | None:
    """The first rule of the podFailurePolicy that a failed pod meets: its action and the message of FailJob."""
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for i, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or []):
        action = rule["action"]
        if codes := rule.get("onExitCodes"):
            for container in pod.get("status", {}).get("containerStatuses", []):
                code = (container["state"].get("terminated") or {}).get("exitCode", 0)
                named = codes.get("containerName") in (None, container["name"])
                if code and named and (code in codes["values"]) == (codes["operator"] == "In"):
                    said = f"Container {container['name']} for pod {name} failed with exit code {code}"
                    return action, f"{said} matching {action} rule at index {i}"
        for pattern in rule.get("onPodConditions") or []:
            for held in pod.get("status", {}).get("conditions", []):
                if (held["type"], held["status"]) == (pattern["type"], pattern.get("status", "True")):
                    return action, f"Pod {name} has condition {held['type']} matching {action} rule at index {i}"
    return None


def _counts(job: Manifest, pod: Manifest) -> bool:
    """Whether a failed pod counts against the backoff limit."""
    match = _match(job, pod)
    return match is None or match[0] != "Ignore"


def _failed_indexes(spec: Manifest, failed: list[Manifest]) -> set[int | None]:
    limit = spec.get("backoffLimitPerIndex")
    if limit is None:
        return set()
    indexes = [_index(pod) for pod in failed]
    return {i for i in indexes if indexes.count(i) > limit}


def _backoff_ends(failed: list[Manifest]) -> datetime:
    last = max(_moment(_finished_at(pod)) for pod in failed)
    return last + min(BACKOFF * (1 << min(len(failed) - 1, 10)), BACKOFF_CAP)


def _finished_at(pod: Manifest) -> str:
    for container in pod["status"].get("containerStatuses", []):
        if at := (container["state"].get("terminated") or {}).get("finishedAt"):
            return str(at)
    return str(pod["metadata"]["creationTimestamp"])


def _pod(job: Manifest, index: int | None) -> Manifest:
    template, meta = copy.deepcopy(job["spec"]["template"]), job["metadata"]
    ours = {
        "batch.kubernetes.io/controller-uid": meta["uid"],
        "batch.kubernetes.io/job-name": meta["name"],
        "controller-uid": meta["uid"],
        "job-name": meta["name"],
    }
    head = template.get("metadata") or {}
    name, annotations = meta["name"], dict(head.get("annotations") or {})
    if index is not None and _indexed(job["spec"]):
        name = f"{name}-{index}"
        ours[INDEX] = annotations[INDEX] = str(index)
        template["spec"].setdefault("hostname", name)
        variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}}
        for container in template["spec"]["containers"]:
            container["env"] = [*(container.get("env") or []), variable]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{''.join(random.choices(ALPHABET, k=5))}",
            "namespace": meta["namespace"],
            "labels": {**(head.get("labels") or {}), **ours},
            "annotations": annotations,
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    }


def _count(step: Step, pods: list[Manifest]) -> None:
    ending = [pod for pod in pods if not _over(pod) and pod["metadata"].get("deletionTimestamp")]
    active = [pod for pod in pods if not _over(pod) and not pod["metadata"].get("deletionTimestamp") and pod not in step.delete]
    ready = [pod for pod in active if _condition(pod.get("status", {}), "Ready")]
    counts = {"active": len(active) + len(step.create), "ready": len(ready), "terminating": len(ending)}
    counts["succeeded"] = sum(_phase(pod) == "Succeeded" for pod in pods)
    counts["failed"] = sum(_phase(pod) == "Failed" for pod in pods)
    for name, count in counts.items():
        if count or name in ("ready", "terminating"):
            step.status[name] = count
        else:
            step.status.pop(name, None)
    if done := sorted({i for pod in pods if _phase(pod) == "Succeeded" and (i := _index(pod)) is not None}):
        step.status["completedIndexes"] = _ranges(done)


def _ranges(numbers: list[int]) -> str:
    """`[0, 1, 2, 5]` → `0-2,5`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]}{'-' if len(p) > 2 else ','}{p[-1]}" for p in parts)


def _indexed(spec: Manifest) -> bool:
    return bool(spec.get("completionMode") == "Indexed")


def _index(pod: Manifest) -> int | None:
    text = pod["metadata"].get("annotations", {}).get(INDEX)
    return int(text) if text is not None else None


def _phase(pod: Manifest) -> str:
    return str(pod.get("status", {}).get("phase", "Pending"))


def _over(pod: Manifest) -> bool:
    return _phase(pod) in ("Succeeded", "Failed")


def _condition(status: Manifest, type_: str) -> Manifest | None:
    return next((c for c in status.get("conditions", []) if c["type"] == type_ and c["status"] == "True"), None)


def _set(status: Manifest, type_: str, value: str, reason: str, message: str, at: str) -> None:
    held = status.setdefault("conditions", [])
    new = {"type": type_, "status": value, "reason": reason, "message": message, "lastTransitionTime": at, "lastProbeTime": at}
    for i, old in enumerate(held):
        if old["type"] == type_:
            if (old["status"], old["reason"], old["message"]) != (value, reason, message):
                held[i] = new
            return
    held.append(new)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
