"""What became of an attempt: a Job and its pods, read as one of a few states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from nnunet_trainer.contract import report as reports
from nnunet_trainer.contract.report import Report

from ...api import reasons
from ...manifests import names
from ...manifests.pod import CONTAINER
from .. import times
from ..view import Manifest, View
from ..work import ACTIVE, Work

SETTLE = timedelta(seconds=10)
"""How long the last words of a pod are waited for once its Job has ended: Jobs and pods are watched apart."""

INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One Job and the pods that it made."""

    number: int
    job: Manifest | None
    pods: tuple[Manifest, ...]

    @property
    def name(self) -> str:
        """The Job's name."""
        return str(self.job["metadata"]["name"]) if self.job else ""

    def condition(self, *kinds: str) -> dict[str, Any] | None:
        """The Job's condition of one of these types that is True."""
        return _condition(self.job or {}, kinds)

    @property
    def finished(self) -> bool:
        """Complete or Failed; FailureTarget and SuccessCriteriaMet come before, while pods still run."""
        return self.condition("Complete", "Failed") is not None

    def alive(self, now: datetime) -> bool:
        """Whether something of it may still run: the next attempt must not."""
        if self.job is not None:
            return not self.finished
        return any(_may_run(pod, now) for pod in self.pods)


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


@dataclass(frozen=True, slots=True)
class Running:
    """A container runs. `hindered` says which other pod of the attempt does not."""

    pod: str
    since: datetime | None
    hindered: Pending | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Done, with its report."""

    report: Report
    at: datetime


@dataclass(frozen=True, slots=True)
class Unreported:
    """Done, but nobody can read what came out: the pod is gone, or its last words are no report."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended without success; `failures.classify` says why."""

    attempt: Attempt
    at: datetime


@dataclass(frozen=True, slots=True)
class Vanished:
    """Its Job was seen once and is gone: somebody deleted it."""


State = NotStarted | Stopping | Queued | Pending | Running | Succeeded | Unreported | Failed | Vanished


def of(view: View[Any], work: Work) -> dict[int, Attempt]:
    """All attempts at a piece of work of which anything is left, by number."""
    wanted = {names.STEP: work.step} | {f"nnunet.dev/{key}": value for key, value in work.labels.items()}
    jobs = dict(_numbered(view.jobs, wanted))
    pods: dict[int, list[Manifest]] = {}
    for number, pod in _numbered(view.pods, wanted):
        pods.setdefault(number, []).append(pod)
    return {
        number: Attempt(number, jobs.get(number), tuple(sorted(pods.get(number, ()), key=_name)))
        for number in sorted(jobs.keys() | pods.keys())
    }


def newest(work: Work, mine: dict[int, Attempt]) -> int:
    """The number of the newest attempt, −1 before the first: the status's, or a later Job's whose status write was lost."""
    known = -1 if work.status.attempt is None else work.status.attempt
    return max([known, *(number for number, attempt in mine.items() if attempt.job is not None)])


def state(work: Work, mine: dict[int, Attempt], now: datetime) -> State:
    """How the newest attempt stands."""
    number = newest(work, mine)
    unseen = work.status.attempt is None or number > work.status.attempt
    if work.status.state not in ACTIVE and not unseen:
        return NotStarted()
    attempt = mine.get(number)
    if attempt is None or attempt.job is None:
        return Vanished() if work.status.job else NotStarted()
    return observe(attempt, now)


def observe(attempt: Attempt, now: datetime) -> State:
    """Read a Job and its pods."""
    assert attempt.job is not None
    if ended := attempt.condition("Complete", "Failed"):
        return _ended(attempt, ended, now)
    if attempt.job["metadata"].get("deletionTimestamp") or attempt.condition("FailureTarget", "SuccessCriteriaMet"):
        return Stopping()
    running = [pod for pod in attempt.pods if "running" in container(pod)]
    if attempt.job.get("spec", {}).get("suspend") and not running:
        return Queued()
    hindered = _hindered(attempt.pods)
    if not running and hindered is None and any(terminated(pod) or _over(pod) for pod in attempt.pods):
        return Stopping()  # its Job is about to say how it ended
    if not running:
        return hindered or Pending(podless=times.parse(attempt.job["metadata"].get("creationTimestamp")))
    since = [started for pod in running if (started := times.parse(container(pod)["running"].get("startedAt")))]
    return Running(_name(leader(running)), min(since, default=None), hindered)


def leader(pods: Iterable[Manifest]) -> Manifest:
    """The pod of rank 0 (of shard 0); of several, the newest."""
    return min(pods, key=lambda pod: (index(pod), _reversed(pod["metadata"].get("creationTimestamp", "")), _name(pod)))


def index(pod: Manifest) -> int:
    """A pod's completion index."""
    metadata = pod["metadata"]
    text = (metadata.get("labels") or {}).get(INDEX) or (metadata.get("annotations") or {}).get(INDEX) or "0"
    return int(text) if text.isdigit() else 0


def container(pod: Manifest) -> dict[str, Any]:
    """The state of the trainer's container: {"waiting" | "running" | "terminated": …}."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    state: dict[str, Any] = next((s.get("state") or {} for s in statuses if s.get("name") == CONTAINER), {})
    return state


def terminated(pod: Manifest) -> dict[str, Any] | None:
    """How the trainer's container ended, or None."""
    ended: dict[str, Any] | None = container(pod).get("terminated")
    return ended


def pod_condition(pod: Manifest, kind: str, status: str = "True") -> dict[str, Any] | None:
    """A pod's condition with this status."""
    return _condition(pod, (kind,), status)


def read_report(pod: Manifest) -> Report | None:
    """What a pod said at its end."""
    message = (terminated(pod) or {}).get("message")
    return reports.decode(message) if isinstance(message, str) else None


def _ended(attempt: Attempt, condition: dict[str, Any], now: datetime) -> State:
    assert attempt.job is not None
    at = times.parse(condition.get("lastTransitionTime")) or times.parse((attempt.job.get("status") or {}).get("completionTime"))
    at = at or now
    silent = not any(terminated(pod) for pod in attempt.pods)
    disrupted = "DisruptionTarget" in str(condition.get("message"))
    if silent and not disrupted and now < at + SETTLE:
        return Stopping()
    if condition["type"] == "Failed":
        return Failed(attempt, at)
    done = [pod for pod in attempt.pods if (terminated(pod) or {}).get("exitCode") == 0]
    # Every shard reports; index 0 speaks for all, another one where it cannot.
    for pod in sorted(done, key=lambda pod: (index(pod), _name(pod))):
        report = read_report(pod)
        if report is not None and report.error is None:
            return Succeeded(report, at)
    if silent or done or now >= at + SETTLE:
        return Unreported(at)
    return Stopping()


def _hindered(pods: Iterable[Manifest]) -> Pending | None:
    """The pod that has waited longest to run, and for what."""
    waiting = [_pending(pod) for pod in pods if not {"running", "terminated"} & container(pod).keys() and not _over(pod)]
    far = datetime.max.replace(tzinfo=UTC)
    return min(waiting, key=lambda pending: (pending.scheduled or far, pending.pod), default=None)


def _pending(pod: Manifest) -> Pending:
    if unscheduled := pod_condition(pod, "PodScheduled", "False"):
        return Pending(reasons.UNSCHEDULABLE, str(unscheduled.get("message", "")), None, _name(pod))
    scheduled = pod_condition(pod, "PodScheduled")
    since = times.parse((scheduled or {}).get("lastTransitionTime"))
    if since is None and (pod.get("spec") or {}).get("nodeName"):
        since = times.parse((pod.get("status") or {}).get("startTime"))
    waiting = container(pod).get("waiting") or {}
    return Pending(str(waiting.get("reason", "")), str(waiting.get("message", "")), since, _name(pod))


def _over(pod: Manifest) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _may_run(pod: Manifest, now: datetime) -> bool:
    if _over(pod):
        return False
    # deletionTimestamp is when its grace ends; what a lost node keeps after that must not hold back the work.
    ends = times.parse(pod["metadata"].get("deletionTimestamp"))
    return ends is None or now < ends + timedelta(seconds=60)


def _numbered(manifests: Iterable[Manifest], wanted: dict[str, str]) -> Iterable[tuple[int, Manifest]]:
    for manifest in manifests:
        labels = manifest["metadata"].get("labels") or {}
        number = labels.get(names.ATTEMPT, "")
        if number.isdigit() and all(labels.get(key) == value for key, value in wanted.items()):
            yield int(number), manifest


def _condition(manifest: Manifest, kinds: tuple[str, ...], status: str = "True") -> dict[str, Any] | None:
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return next((c for kind in kinds for c in conditions if c.get("type") == kind and c.get("status") == status), None)


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


def _reversed(text: str) -> tuple[int, ...]:
    return tuple(-ord(character) for character in text)
