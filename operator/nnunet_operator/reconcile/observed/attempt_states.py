"""The states in which the newest attempt at a piece of work can stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nnunet_trainer.contract.report import Report


@dataclass(frozen=True, slots=True)
class NotStarted:
    """No Job yet."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """Being deleted, or its pods are ending."""


@dataclass(frozen=True, slots=True)
class Queued:
    """Suspended by a queue."""


@dataclass(frozen=True, slots=True)
class Pending:
    """No container runs: since `scheduled` a pod has had a node without running on it, or since `podless` there has been no pod."""

    reason: str = ""
    message: str = ""
    scheduled: datetime | None = None
    pod: str = ""
    podless: datetime | None = None
    managed_by: str = ""
    """Who makes its pods, where that is not Kubernetes' own Job controller."""
    mounts: tuple[str, ...] = ()
    """The Secrets, ConfigMaps and claims that must be there before it starts: `Secret s3`."""


@dataclass(frozen=True, slots=True)
class Running:
    """A container runs. `pending` is another pod of the attempt that does not; `leader` and `pods` are uids."""

    leader: str
    pods: tuple[str, ...]
    since: datetime | None
    pending: Pending | None = None
    storage: str | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Done, with its report."""

    report: Report
    at: datetime


@dataclass(frozen=True, slots=True)
class ReportMissing:
    """Done, but nobody can read what came out: the pod is gone, or its last words are no report, or no answer to the order."""

    at: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended without success; `failures.classify` says why."""

    at: datetime


@dataclass(frozen=True, slots=True)
class JobDeleted:
    """Its Job was seen once and is gone: somebody deleted it."""


AttemptState = NotStarted | Stopping | Queued | Pending | Running | Succeeded | ReportMissing | Failed | JobDeleted
