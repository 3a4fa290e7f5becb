"""How long an attempt may take to start, and a fold to run."""

from __future__ import annotations

from datetime import datetime, timedelta

from ...api import reasons
from ...api.training_run import FoldStatus
from .. import times
from ..observed.attempts import Pending
from ..observed.failures import Cause, Failure
from ..work import Work

WAITING = {
    "ErrImagePull": (reasons.IMAGE_PULL_FAILED, "Check spec.template.image and imagePullSecrets."),
    "ImagePullBackOff": (reasons.IMAGE_PULL_FAILED, "Check spec.template.image and imagePullSecrets."),
    "InvalidImageName": (reasons.IMAGE_PULL_FAILED, "Check spec.template.image."),
    "ErrImageNeverPull": (reasons.IMAGE_PULL_FAILED, "The image is not on the node, and imagePullPolicy is Never."),
    "CreateContainerConfigError": (
        reasons.CONTAINER_CONFIG_ERROR,
        "Create it in this namespace, or correct the name (of a storage's or source's Secret or CA, or in spec.template.env).",
    ),
    "CreateContainerError": (reasons.CONTAINER_CONFIG_ERROR, ""),
    "RunContainerError": (reasons.CONTAINER_CONFIG_ERROR, ""),
}
"""What the kubelet calls a container that does not start → our reason and what to do."""


PATIENCE = timedelta(seconds=60)
"""So long is an ordinary start: it is not worth a status write."""


def explain(work: Work, pending: Pending, now: datetime) -> tuple[str, str]:
    """The reason and the message of a pod that does not run yet; nothing of note in its first minute."""
    if pending.reason == reasons.UNSCHEDULABLE:
        return reasons.UNSCHEDULABLE, f"pod {pending.pod} waits for a node: {pending.message or 'not scheduled yet'}"
    reason, hint = WAITING.get(pending.reason, (reasons.STARTING, ""))
    if reason == reasons.STARTING:
        since = pending.scheduled or pending.podless
        if since is None or now < since + PATIENCE:
            return reason, f"{work.attempt} is being started"
        if pending.scheduled is None:
            job = f"its Job has had no pod since {times.timestamp(since)}"
            return reason, f"{job}: is there a quota, or an admission rule that refuses it? (kubectl describe job)"
        return reason, f"pod {pending.pod} has been starting (image, volumes) since {times.timestamp(since)}"
    said = f": {pending.message.rstrip('.')}" if pending.message else ""
    return reason, f"pod {pending.pod} does not start, {pending.reason}{said}" + (f". {hint}" if hint else "")


def pre_running(work: Work, pending: Pending, now: datetime) -> Failure | timedelta | None:
    """Of a pod that has a node and does not run: a failure when its time is over, else how long is left.

    Waiting for a node (for a GPU) takes as long as it takes.
    """
    if pending.scheduled is None:
        return None
    limit = timedelta(seconds=work.policy.pre_running_deadline_seconds)
    left = pending.scheduled + limit - now
    if left > timedelta():
        return left
    said, hint = f": {pending.message}" if pending.message else "", WAITING.get(pending.reason, ("", ""))[1]
    what = f" ({pending.reason}{said})" if pending.reason else " (is there a Secret or ConfigMap that does not exist?)"
    return Failure(
        cause=Cause.ERROR,
        reason=reasons.PRE_RUNNING_DEADLINE_EXCEEDED,
        message=f"did not run within {times.duration(limit.total_seconds())} of being scheduled{what}",
        hint=hint,
        at=pending.scheduled + limit,
    )


def run_clock(work: Work, since: datetime | None, until: datetime) -> None:
    """Keep a fold's running time: that of ended attempts, and since when the present one runs. Queueing is not in it."""
    status = work.status
    if not isinstance(status, FoldStatus) or status.running_since == since:
        return
    if status.running_since is not None:
        status.running_seconds = (status.running_seconds or 0) + max(0.0, round((until - status.running_since).total_seconds()))
    status.running_since = since


def active(work: Work, now: datetime) -> Failure | timedelta | None:
    """Of a running fold: the end when its time is over, else how long is left."""
    status = work.status
    if work.active_deadline is None or not isinstance(status, FoldStatus) or status.running_since is None:
        return None
    before = timedelta(seconds=status.running_seconds or 0)
    left = timedelta(seconds=work.active_deadline) - before - (now - status.running_since)
    if left > timedelta():
        return left
    return Failure(
        cause=Cause.PERMANENT,
        reason=reasons.DEADLINE_EXCEEDED,
        message=f"has run for its {times.duration(work.active_deadline)} (spec.activeDeadlineSeconds)",
        hint="Set spec.rerun to a new value to go on from its last checkpoint for as long again.",
        at=now + left,
    )
