"""Why a pod does not run yet, in words."""

from __future__ import annotations

from datetime import datetime, timedelta

from ...api import reasons
from .. import times
from ..work import Work
from .attempt_states import Pending

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

ORDINARY_START = timedelta(seconds=60)
"""So long is an ordinary start: it is not worth a status write."""


def hint(pending: Pending) -> str:
    """What to do about it."""
    return WAITING.get(pending.reason, ("", ""))[1]


def needs(pending: Pending) -> str:
    """A clause that names what must be there before the pod starts: a kubelet says ContainerCreating, and not what it misses."""
    exist = "does it exist" if len(pending.mounts) == 1 else "do they exist"
    return f"; it needs {', '.join(pending.mounts)}: {exist}? (kubectl describe pod)" if pending.mounts else ""


def explain(work: Work, pending: Pending, now: datetime) -> tuple[str, str]:
    """The reason and the message of a pod that does not run yet; nothing of note in its first minute."""
    if pending.reason == reasons.UNSCHEDULABLE:
        return reasons.UNSCHEDULABLE, f"pod {pending.pod} waits for a node: {pending.message or 'not scheduled yet'}"
    reason, hint = WAITING.get(pending.reason, (reasons.STARTING, ""))
    if reason == reasons.STARTING:
        since = pending.scheduled or pending.podless
        if since is None or now < since + ORDINARY_START:
            return reason, f"{work.attempt} is being started"
        if pending.scheduled is None:
            job = f"its Job has had no pod since {times.timestamp(since)}"
            if pending.managed_by:
                return reason, f"{job}: {pending.managed_by} is to make them, in this namespace (spec.managedBy)"
            return reason, f"{job}: is there a quota, or an admission rule that refuses it? (kubectl describe job)"
        waits = f"pod {pending.pod} has been starting (image, volumes) since {times.timestamp(since)}"
        return reason, f"{waits}{needs(pending)}"
    said = f": {pending.message.rstrip('.')}" if pending.message else ""
    return reason, f"pod {pending.pod} does not start, {pending.reason}{said}" + (f". {hint}" if hint else "")
