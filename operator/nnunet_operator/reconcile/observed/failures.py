"""Why an attempt failed, from its Job's Failed condition and, while they are there, its pods."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from nnunet_trainer.contract.faults import PERMANENT, ExitCode
from nnunet_trainer.contract.json_text.untrusted_json import printable

from ...api import reasons
from .. import times
from ..view import Manifest
from . import pods as reading
from .attempts import Attempt

LAST_WORDS = 600
"""Characters of a crashed container's last log lines that are shown."""


class Cause(Enum):
    """What the failure policy goes by."""

    DISRUPTION = "disruption"  # nobody's fault: preempted, drained, stopped
    REQUESTED = "requested"  # a person stopped it, to go on later
    GIVEN_BACK = "given back"  # its nodes, for want of the others that it needs at the same time
    PERMANENT = "permanent"  # the same order would fail in the same way
    OUT_OF_MEMORY = "out of memory"
    UNREPORTED = "unreported"
    ERROR = "error"  # may go better next time


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why one attempt ended without success. `hint` says what to do.

    `message` is what comes after "attempt 2 …", or, where it is `reported`, the trainer's own sentence.
    """

    cause: Cause
    reason: str
    message: str
    at: datetime
    reported: bool = False
    hint: str = ""
    exit_code: int | None = None
    epoch: int | None = None
    detail: str | None = None  # where the whole report stands


DISRUPTIONS = {
    "PreemptionByScheduler": "was preempted for a pod of higher priority",
    "EvictionByEvictionAPI": "was evicted (node drained)",
    "DeletionByTaintManager": "was evicted from a tainted node",
    "DeletionByPodGC": "was lost with its node",
    "TerminationByKubelet": "was evicted by its node (short of memory or disk, or shutting down)",
}

END_UNKNOWN = {("Unknown", 255), ("ContainerStatusUnknown", 137)}
"""Reason and exit code of a container of which nobody saw the end: containerd's, and the kubelet's where the runtime forgot it."""

STOPPED_BY_SHELL = "StoppedByLocalShell"
"""The local shell's own reason of DisruptionTarget: a person ended it."""

BY_EXIT_CODE = {
    ExitCode.BAD_USAGE: reasons.BAD_USAGE,
    ExitCode.BAD_DATA: reasons.BAD_DATA,
    ExitCode.BAD_CONFIGURATION: reasons.BAD_CONFIGURATION,
    ExitCode.GPU_OUT_OF_MEMORY: reasons.OUT_OF_GPU_MEMORY,
    ExitCode.IO_ERROR: reasons.STORAGE_UNAVAILABLE,
    ExitCode.TRY_AGAIN: reasons.TRY_AGAIN,
    ExitCode.STOPPED: reasons.STOPPED,
}

ADVICE = {
    ExitCode.GPU_OUT_OF_MEMORY: (
        "Plan for less (spec.planner.gpuMemoryGB of the Plans) or ask for a larger GPU (spec.template.nodeSelector)."
    ),
    ExitCode.BAD_USAGE: "Use a trainer image of the operator's own version (spec.template.image).",
}

MORE_MEMORY = "Raise spec.template.resources.limits.memory."
MORE_DISK = "Raise spec.template.scratch.size, or the ephemeral-storage limit in spec.template.resources."


def classify(attempt: Attempt, at: datetime) -> Failure:
    """Tell disruption, permanent and try-again apart. The Job's condition decides; pods, if any are left, give the words."""
    condition = attempt.condition("Failed", "FailureTarget") or {}
    job_says = str(condition.get("message", ""))
    by_policy = condition.get("reason") == "PodFailurePolicy"
    by_code = re.search(r"exit code ([0-9]{1,9})", job_says) if by_policy else None
    lost = next((pod for pod in attempt.pods if (ends := reading.lost_at(pod)) is not None and ends <= at), None)
    if lost and not by_code:
        return _lost(lost, at)
    if disrupted := _disrupted(attempt.all_pods):
        return _disruption(disrupted, at)
    if by_policy and "DisruptionTarget" in job_says:
        return Failure(cause=Cause.DISRUPTION, reason=reasons.DISRUPTED, message="was disrupted (its pod is gone)", at=at)
    failed = _failed(attempt.all_pods)
    culprit = _first([pod for pod in failed if not reading.was_asked_to_go(pod)])
    stopped = _first([pod for pod in failed if reading.was_asked_to_go(pod)])
    # When one pod fails, the Job controller deletes the others. One that was stopped before it was deleted by somebody else.
    if culprit and stopped and _finished_at(stopped) < _finished_at(culprit):
        culprit = None
    if by_code:
        return _exited(int(by_code[1]), culprit or _first(failed), at)
    if culprit is None and (deleted := [pod for pod in attempt.all_pods if pod["metadata"].get("deletionTimestamp")]):
        return _pod_deleted(stopped or deleted[0], at)
    if culprit is None:
        return Failure(cause=Cause.ERROR, reason=reasons.FAILED, message=f"failed ({job_says or 'its pod is gone'})", at=at)
    if storage := _evicted_for_storage(culprit):
        return Failure(cause=Cause.PERMANENT, reason=reasons.OUT_OF_DISK, message=storage, at=at, hint=MORE_DISK)
    ended = reading.terminated(culprit) or {}
    if (ended.get("reason"), ended.get("exitCode")) in END_UNKNOWN:
        message = f"was lost with its node{_on_node(culprit)}, which crashed or was started anew"
        return Failure(cause=Cause.DISRUPTION, reason=reasons.DISRUPTED, message=message, at=at)
    return _exited(int(ended.get("exitCode", 1)), culprit, at)


def report_missing(at: datetime, why: str = "") -> Failure:
    """An attempt that succeeded, and of which nobody knows what it made; `why` its report does not count, where there is one."""
    missing = "its report could not be read (its pod is gone, or said something else)"
    message = f"succeeded, but {f'its report does not count: {why}' if why else missing}"
    return Failure(cause=Cause.UNREPORTED, reason=reasons.REPORT_MISSING, message=f"has {message}", at=at)


def job_deleted(now: datetime) -> Failure:
    """An attempt whose Job somebody has deleted."""
    return Failure(cause=Cause.DISRUPTION, reason=reasons.DISRUPTED, message="was lost: somebody deleted its Job", at=now)


def _exited(code: int, pod: Manifest | None, at: datetime) -> Failure:
    ended = reading.terminated(pod) or {} if pod else {}
    report = reading.report(pod) if pod else None
    error = report.error if report else None
    known = ExitCode(code) if code in list(ExitCode) else None
    common = {"at": at, "exit_code": code, "epoch": _epoch(pod) if pod else None}
    detail = report.detail if report else None
    if ended.get("reason") == "OOMKilled" or (error and error.reason in (reasons.OUT_OF_MEMORY, "OOMKilled")):
        said = f": {error.message}" if error else ""
        message = f"was killed for using more memory than its limit{said}"
        return Failure(cause=Cause.OUT_OF_MEMORY, reason=reasons.OUT_OF_MEMORY, message=message, hint=MORE_MEMORY, **common)  # type: ignore[arg-type]
    cause = Cause.PERMANENT if code in PERMANENT else Cause.DISRUPTION if known is ExitCode.STOPPED else Cause.ERROR
    hint = ADVICE.get(known, "") if known else ""
    if error:
        reason = error.reason if _is_reason(error.reason) else _reason(known)
        own = {"message": error.message, "hint": error.hint or hint, "reported": True}
        return Failure(cause=cause, reason=reason, detail=detail, **own, **common)  # type: ignore[arg-type]
    words = printable(" ".join(str(ended.get("message", "")).split()))[-LAST_WORDS:]
    signal = f" (signal {code - 128})" if 128 < code < 160 and known is None else ""
    message = "was stopped" if cause is Cause.DISRUPTION else f"ended with exit code {code}{signal}"
    message += f"; its last words: {words}" if words else ""
    return Failure(cause=cause, reason=_reason(known), message=message, hint=hint, **common)  # type: ignore[arg-type]


def _reason(code: ExitCode | None) -> str:
    return BY_EXIT_CODE.get(code, reasons.FAILED) if code else reasons.FAILED


def _is_reason(text: str) -> bool:
    return len(text) <= 128 and re.fullmatch(r"[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?", text) is not None


def _disrupted(pods: Iterable[Manifest]) -> Manifest | None:
    # Only of pods that failed: one that was asked to go and finished all the same has done its work.
    marked = [pod for pod in pods if reading.condition(pod, "DisruptionTarget")]
    return next((pod for pod in marked if (pod.get("status") or {}).get("phase") != "Succeeded"), None)


def _lost(pod: Manifest, at: datetime) -> Failure:
    since = times.timestamp(at - reading.LOST_AFTER)
    message = f"was lost with its node{_on_node(pod)}: its pod was to end by {since}"
    return Failure(cause=Cause.DISRUPTION, reason=reasons.DISRUPTED, message=message, at=at)


def _pod_deleted(pod: Manifest, at: datetime) -> Failure:
    message = f"was stopped: somebody deleted its pod{_on_node(pod)}"
    return Failure(cause=Cause.DISRUPTION, reason=reasons.DISRUPTED, message=message, at=at, epoch=_epoch(pod))


def _disruption(pod: Manifest, at: datetime) -> Failure:
    condition = reading.condition(pod, "DisruptionTarget") or {}
    reason = str(condition.get("reason"))
    cause = Cause.REQUESTED if reason == STOPPED_BY_SHELL else Cause.DISRUPTION
    if cause is Cause.REQUESTED:
        message, hint = "was stopped with the local shell", "It goes on with the next `nnunet-operator local run`."
    else:
        message, hint = f"{DISRUPTIONS.get(reason, 'was disrupted')}{_on_node(pod)}", ""
    return Failure(cause=cause, reason=reasons.DISRUPTED, message=message, at=at, hint=hint, epoch=_epoch(pod))


def _on_node(pod: Manifest) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    return f" (node {node})" if node else ""


def _epoch(pod: Manifest) -> int | None:
    report = reading.report(pod)
    epoch = report.summary.get("epoch") if report else None
    return epoch if isinstance(epoch, int) else None


def _failed(pods: Iterable[Manifest]) -> list[Manifest]:
    return [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Failed" or _code(pod)]


def _first(failed: Iterable[Manifest]) -> Manifest | None:
    """The pod that failed first; one that was only stopped after it comes last."""

    def order(pod: Manifest) -> tuple[bool, str, str]:
        return _code(pod) == ExitCode.STOPPED, _finished_at(pod), reading.name(pod)

    return min(failed, key=order, default=None)


def _finished_at(pod: Manifest) -> str:
    return str((reading.terminated(pod) or {}).get("finishedAt", ""))


def _code(pod: Manifest) -> int:
    return int((reading.terminated(pod) or {}).get("exitCode") or 0)


def _evicted_for_storage(pod: Manifest) -> str | None:
    status = pod.get("status") or {}
    message = str(status.get("message", ""))
    # Under pressure of the whole node the kubelet sets DisruptionTarget; here the pod went over its own limit.
    if status.get("reason") != "Evicted" or not re.search(r"ephemeral|emptydir|storage", message, re.IGNORECASE):
        return None
    return f"was evicted for using more disk than its limit: {message}"
