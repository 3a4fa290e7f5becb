"""What became of an attempt: a Job and its pods, read as one of a few states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ...manifests import names, ownership
from .. import times
from ..view import Manifest, View
from ..work import ACTIVE, Work
from . import pods as reading
from . import report_checks
from .attempt_states import (
    AttemptState,
    Failed,
    JobDeleted,
    NotStarted,
    Pending,
    Queued,
    ReportMissing,
    Running,
    Stopping,
    Succeeded,
)

SETTLE = timedelta(seconds=10)
"""How long the last words of a pod are waited for once its Job has ended: Jobs and pods are watched apart."""

JOB_CONTROLLER = "kubernetes.io/job-controller"
"""Of a Job's `managedBy`: Kubernetes' own."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One Job and the pods that it made."""

    number: int
    job: Manifest | None
    pods: tuple[Manifest, ...]
    deleted_pods: tuple[Manifest, ...] = ()
    """As they were last seen."""
    deleted_job: Manifest | None = None
    """The Job as it was last seen, where it was seen and somebody has deleted it."""

    @property
    def all_pods(self) -> tuple[Manifest, ...]:
        """Those that are there and those that were: what they said at their end."""
        return self.pods + self.deleted_pods

    @property
    def seen_job(self) -> Manifest | None:
        """The Job, also where somebody has deleted it."""
        return self.job or self.deleted_job

    @property
    def name(self) -> str:
        """The Job's name."""
        return str(self.seen_job["metadata"]["name"]) if self.seen_job else ""

    @property
    def storage(self) -> str | None:
        """The URI of its order's storage; None where its Job does not say so."""
        found = ((self.job or {"metadata": {}})["metadata"].get("annotations") or {}).get(names.STORAGE_URI)
        return found if isinstance(found, str) else None

    def condition(self, *kinds: str) -> dict[str, Any] | None:
        """The Job's condition of one of these types that is True."""
        return reading.condition(self.job or {}, *kinds)

    @property
    def finished(self) -> bool:
        """Complete or Failed; FailureTarget and SuccessCriteriaMet come before, while pods still run."""
        return self.condition("Complete", "Failed") is not None

    def alive(self, now: datetime) -> bool:
        """Whether something of it may still run: the next attempt must not."""
        if self.job is not None and not self._deleted_long_ago(now):
            return not self.finished
        return any(reading.may_run(pod, now) for pod in self.pods)

    def _deleted_long_ago(self, now: datetime) -> bool:
        """A Job that is being deleted makes no pods; in the foreground it stays as long as a pod on a lost node does."""
        at = times.parse((self.job or {"metadata": {}})["metadata"].get("deletionTimestamp"))
        return at is not None and now >= at + reading.LOST_AFTER


def of(view: View[Any], work: Work) -> dict[int, Attempt]:
    """All attempts at a piece of work of which anything is left, by number.

    A Job counts by its name, which is made of its owner's uid, the part and the attempt: a copy under another name does not. A pod
    counts by the Job that controls it; where that is gone, by that Job's name.
    """
    jobs = {number: job for job in view.jobs if (number := _number(view, work, job)) is not None}
    gone = {number: job for job in view.deleted_jobs if (number := _number(view, work, job)) is not None and number not in jobs}
    pods, deleted = _by_number(view, work, jobs, view.pods), _by_number(view, work, jobs, view.deleted_pods)
    return {
        number: Attempt(number, jobs.get(number), pods.get(number, ()), deleted.get(number, ()), gone.get(number))
        for number in sorted(jobs.keys() | pods.keys() | gone.keys())
    }


def newest(work: Work, mine: dict[int, Attempt]) -> int:
    """The number of the newest attempt, −1 before the first: the status's, or a later Job's whose status write was lost.

    The next attempt begins once the end of the one before it stands in the status: until then a later Job is not the operator's.
    """
    known = -1 if work.status.attempt is None else work.status.attempt
    if known >= 0 and work.status.state in ACTIVE:
        return known
    return max([known, *(number for number, attempt in mine.items() if attempt.seen_job is not None)])


def state(work: Work, mine: dict[int, Attempt], now: datetime) -> AttemptState:
    """How the newest attempt stands. A report that is no answer to the order is as good as none."""
    number = newest(work, mine)
    unseen = work.status.attempt is None or number > work.status.attempt
    if work.status.state not in ACTIVE and not unseen:
        return NotStarted()
    attempt = mine.get(number)
    if attempt is None or attempt.job is None:
        return JobDeleted() if work.status.job or (attempt and attempt.deleted_job) else NotStarted()
    found = observe(attempt, now)
    if not isinstance(found, Succeeded):
        return found
    if why := report_checks.problem(found.report, work.step, work.artifact, attempt.storage):
        return ReportMissing(found.at, why)
    return Succeeded(report_checks.only_below(found.report, attempt.storage), found.at)


def observe(attempt: Attempt, now: datetime) -> AttemptState:
    """Read a Job and its pods."""
    assert attempt.job is not None
    if ended := attempt.condition("Complete", "Failed"):
        return _ended(attempt, ended, now)
    if (lost := lost_at(attempt)) is not None and lost <= now:
        return Failed(lost)  # its Job would wait for ever
    if attempt.job["metadata"].get("deletionTimestamp") or attempt.condition("FailureTarget", "SuccessCriteriaMet"):
        return Stopping()
    running = [pod for pod in attempt.pods if "running" in reading.container(pod)]
    if attempt.job.get("spec", {}).get("suspend") and not running:
        return Queued()
    pending = reading.longest_pending(attempt.pods)
    if (
        not running
        and pending is None
        and (attempt.deleted_pods or any(reading.terminated(pod) or reading.is_over(pod) for pod in attempt.pods))
    ):
        return Stopping()  # its Job is about to say how it ended
    if not running:
        manager = str(attempt.job.get("spec", {}).get("managedBy") or "").removeprefix(JOB_CONTROLLER)
        return pending or Pending(podless=times.parse(attempt.job["metadata"].get("creationTimestamp")), managed_by=manager)
    since = [started for pod in running if (started := reading.started(pod))]
    begun = tuple(reading.uid(pod) for pod in attempt.pods if {"running", "terminated"} & reading.container(pod).keys())
    return Running(reading.uid(reading.leader(running)), begun, min(since, default=None), pending, attempt.storage)


def lost_at(attempt: Attempt) -> datetime | None:
    """When an attempt is over because a pod of it was deleted and does not end; None where none is being deleted."""
    return min((at for pod in attempt.pods if (at := reading.lost_at(pod)) is not None), default=None)


def _ended(attempt: Attempt, condition: dict[str, Any], now: datetime) -> AttemptState:
    assert attempt.job is not None
    at = times.parse(condition.get("lastTransitionTime")) or times.parse((attempt.job.get("status") or {}).get("completionTime"))
    at = at or now
    silent = not any(reading.terminated(pod) for pod in attempt.all_pods)
    # What a disrupted pod said is a help, not a need: it is waited for only while there is a pod that may yet be seen to end.
    needed = "DisruptionTarget" not in str(condition.get("message")) or any(not reading.is_over(pod) for pod in attempt.pods)
    settles = abs(now - at) < SETTLE  # an end that lies far ahead is of another clock than ours
    if silent and needed and settles:
        return Stopping()
    if condition["type"] == "Failed":
        return Failed(at)
    done = [pod for pod in attempt.all_pods if (reading.terminated(pod) or {}).get("exitCode") == 0]
    # Every shard reports; index 0 speaks for all, another one where it cannot.
    for pod in sorted(done, key=lambda pod: (reading.index(pod), reading.name(pod))):
        report = reading.report(pod)
        if report is not None and report.error is None:
            return Succeeded(report, at)
    if silent or done or not settles:
        return ReportMissing(at)
    return Stopping()


def _by_number(view: View[Any], work: Work, jobs: dict[int, Manifest], pods: Iterable[Manifest]) -> dict[int, tuple[Manifest, ...]]:
    found: dict[int, list[Manifest]] = {}
    for pod in pods:
        name, uid = ownership.controlling_job(pod) or ("", "")
        number = names.attempt_of(view.object, work.part, name)
        if number is not None and (number not in jobs or jobs[number]["metadata"].get("uid") == uid):
            found.setdefault(number, []).append(pod)
    return {number: tuple(sorted(group, key=reading.name)) for number, group in found.items()}


def _number(view: View[Any], work: Work, job: Manifest) -> int | None:
    number = names.attempt_of(view.object, work.part, str(job["metadata"]["name"]))
    # A copy of another attempt's Job under this attempt's name has kept its label.
    return number if (job["metadata"].get("labels") or {}).get(names.ATTEMPT) == str(number) else None
