"""Reading a pod: its index, the state of the trainer's container, what it waits for, what it said at its end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from nnunet_trainer.contract import report as reports
from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.report import Report

from ...api import reasons
from ...api.conditions import condition_of
from ...manifests import names
from ...manifests.pod import CONTAINER
from .. import times
from ..view import Manifest
from .attempt_states import Pending

LOST_AFTER = timedelta(seconds=60)
"""So long after its grace has ended, a pod that is being deleted is taken to be lost with its node."""

SOURCES = (
    ("secret", "secretName", "Secret"),
    ("configMap", "name", "ConfigMap"),
    ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
)
"""A volume's source, the field with the object's name, and that object's kind."""

_INDEX = re.compile("[0-9]{1,9}")
"""Of an annotation, which anybody may write who may edit a pod: `isdigit` takes what `int` does not."""

SIGKILLED = 128 + 9
"""The exit code of a container that did not end within its grace."""


def name(pod: Manifest) -> str:
    """A pod's name."""
    return str(pod["metadata"]["name"])


def uid(pod: Manifest) -> str:
    """A pod's uid."""
    return str(pod["metadata"].get("uid", ""))


def index(pod: Manifest) -> int:
    """A pod's completion index; 0 where what it bears is none."""
    metadata = pod["metadata"]
    text = (
        (metadata.get("labels") or {}).get(names.COMPLETION_INDEX)
        or (metadata.get("annotations") or {}).get(names.COMPLETION_INDEX)
        or "0"
    )
    return int(text) if _INDEX.fullmatch(text) else 0


def is_indexed(pod: Manifest) -> bool:
    """Whether it is one of several pods of its Job."""
    return any(names.COMPLETION_INDEX in (pod["metadata"].get(kind) or {}) for kind in ("labels", "annotations"))


def leader(pods: Iterable[Manifest]) -> Manifest:
    """The pod of rank 0 (of shard 0); of several, the newest."""
    return min(pods, key=lambda pod: (index(pod), _reversed(pod["metadata"].get("creationTimestamp", "")), name(pod)))


def container(pod: Manifest) -> dict[str, Any]:
    """The state of the trainer's container: {"waiting" | "running" | "terminated": …}."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    state: dict[str, Any] = next((s.get("state") or {} for s in statuses if s.get("name") == CONTAINER), {})
    return state


def terminated(pod: Manifest) -> dict[str, Any] | None:
    """How the trainer's container ended, or None."""
    ended: dict[str, Any] | None = container(pod).get("terminated")
    return ended


def report(pod: Manifest) -> Report | None:
    """What a pod said at its end."""
    message = (terminated(pod) or {}).get("message")
    return reports.decode(message) if isinstance(message, str) else None


def condition(manifest: Manifest, *kinds: str, status: str = "True") -> dict[str, Any] | None:
    """A pod's, or a Job's, condition of one of these types with this status."""
    return next((found for kind in kinds if (found := condition_of(manifest, kind, status))), None)


def is_over(pod: Manifest) -> bool:
    """Whether no container of it will run any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def lost_at(pod: Manifest) -> datetime | None:
    """When a pod that is being deleted and has not ended is taken to be lost with its node; None of any other pod."""
    # deletionTimestamp is when its grace ends; what a lost node keeps after that must not hold back the work.
    ends = times.parse(pod["metadata"].get("deletionTimestamp"))
    return None if ends is None or is_over(pod) else ends + LOST_AFTER


def may_run(pod: Manifest, now: datetime) -> bool:
    """Whether something of it may still run."""
    at = lost_at(pod)
    return not is_over(pod) and (at is None or now < at)


def was_asked_to_go(pod: Manifest) -> bool:
    """Whether somebody deleted it before its container ended: how that ended is then no fault of its own."""
    ends = times.parse(pod["metadata"].get("deletionTimestamp"))
    if ends is None:
        return False
    ended = terminated(pod)
    if ended is None:
        return True
    grace, at = int(pod["metadata"].get("deletionGracePeriodSeconds") or 0), times.parse(ended.get("finishedAt"))
    if grace and at is not None:
        return at >= ends - timedelta(seconds=grace)
    # The kubelet deletes a pod that has ended with a grace of 0: from then on deletionTimestamp does not tell when it was asked.
    return ended.get("exitCode") in (ExitCode.STOPPED, SIGKILLED) and ended.get("reason") != "OOMKilled"


def longest_pending(pods: Iterable[Manifest]) -> Pending | None:
    """The pod that has waited longest to run, and for what."""
    waiting = [_pending(pod) for pod in pods if not {"running", "terminated"} & container(pod).keys() and not is_over(pod)]
    far = datetime.max.replace(tzinfo=UTC)
    return min(waiting, key=lambda pending: (pending.scheduled or far, pending.pod), default=None)


def started(pod: Manifest) -> datetime | None:
    """Since when the trainer's container runs; None where it does not.

    The kubelet says so by its node's clock, which may be wrong; the API server's says when the pod got that node, and before
    that it did not run.
    """
    at = times.parse((container(pod).get("running") or {}).get("startedAt"))
    scheduled = times.parse((condition(pod, "PodScheduled") or {}).get("lastTransitionTime"))
    return max(at, scheduled) if at and scheduled else at


def _pending(pod: Manifest) -> Pending:
    if unscheduled := condition(pod, "PodScheduled", status="False"):
        return Pending(reasons.UNSCHEDULABLE, str(unscheduled.get("message", "")), None, name(pod))
    scheduled = condition(pod, "PodScheduled")
    since = times.parse((scheduled or {}).get("lastTransitionTime"))
    if since is None and (pod.get("spec") or {}).get("nodeName"):
        since = times.parse((pod.get("status") or {}).get("startTime"))
    waiting = container(pod).get("waiting") or {}
    return Pending(str(waiting.get("reason", "")), str(waiting.get("message", "")), since, name(pod), mounts=mounts(pod))


def mounts(pod: Manifest) -> tuple[str, ...]:
    """What of the volumes somebody has to create; the order's ConfigMap is our own."""
    found: list[str] = []
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        for source, key, kind in SOURCES:
            named = volume.get(source) or {}
            if named.get(key) and not named.get("optional") and volume.get("name") != "order":
                found.append(f"{kind} {named[key]}")
        if "ephemeral" in volume:
            found.append(f"PersistentVolumeClaim {name(pod)}-{volume['name']}")
    return tuple(found)


def _reversed(text: str) -> tuple[int, ...]:
    return tuple(-ord(character) for character in text)
