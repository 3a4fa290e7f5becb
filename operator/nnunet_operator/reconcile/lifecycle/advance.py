"""The lifecycle of one piece of work, whichever it is: start, watch, retry, finish, delete what is settled."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from nnunet_trainer.contract.report import Report

from ...api import reasons
from ...api.common import State
from ...api.training_run import FoldStatus
from .. import times
from ..blocker import Blocker
from ..observed import attempts, failures, pending_pods, predecessors, progress, queues
from ..observed.attempt_states import Failed, JobDeleted, NotStarted, Pending, Queued, ReportMissing, Running, Stopping, Succeeded
from ..observed.attempts import Attempt
from ..observed.failures import Failure
from ..policies import active_deadline_seconds, failure_policy, pre_running_deadline_seconds
from ..policies.active_deadline_seconds import keep_running_time
from ..references import mounted_plugins
from ..scope import Scope
from ..work import ACTIVE, Startable, Work
from . import jobs


class Result(NamedTuple):
    """A report that holds what was wanted, and when the Job was done."""

    report: Report
    at: datetime


def advance(scope: Scope[Any], work: Work, start: Startable | Blocker) -> Result | None:
    """Take a piece of work one step on; returns its result in the pass in which that is first seen."""
    mine = attempts.of(scope.view, work)
    if not work.status.state.known and not _take_over(work, mine):
        return None
    if work.status.state.finished or work.status.state is State.SUSPENDED:
        jobs.delete_settled(scope, work, mine)
        return None
    now, result = scope.now, None
    _adopt(work, mine)
    _recall_input(scope, work, mine, start)
    state = attempts.state(work, mine, now)
    if not isinstance(state, (NotStarted, Stopping, Pending)):
        _note(work, mine)
    if isinstance(state, (Running, Pending, Stopping)) and (lost := attempts.lost_at(mine[attempts.newest(work, mine)])):
        scope.look_again_at(lost)
    match state:
        case NotStarted():
            _begin(scope, work, mine, start)
        case Stopping():
            scope.look_again_at(now + timedelta(seconds=5))
        case Queued():
            keep_running_time(work, None, now)
            job = mine[attempts.newest(work, mine)].job or {"metadata": {}}
            waits = queues.explain(job, scope.view.workloads.get(str(job["metadata"].get("uid"))))
            work.set_state(State.QUEUED, reasons.QUEUED, f"{work.title}: {work.attempt} {waits}")
        case Pending() as pending:
            keep_running_time(work, None, now)
            _report_pending(scope, work, pending)
            jobs.make_order_again(scope, work, mine, pending, start)
        case Running() as running:
            half = pre_running_deadline_seconds.is_half_started(work, running)
            keep_running_time(work, None if half else running.since, now)
            _watch(scope, work, running)
            if running.pending is not None and work.status.state in ACTIVE:
                jobs.make_order_again(scope, work, mine, running.pending, start)
        case Succeeded(report, at):
            keep_running_time(work, None, at)
            result = Result(report, at)
        case ReportMissing(at, why):
            _decide(scope, work, failures.report_missing(at, why))
        case Failed(at):
            _decide(scope, work, failures.classify(mine[work.status.attempt or 0], at))
        case JobDeleted():
            _decide(scope, work, failures.job_deleted(now))
    jobs.delete_settled(scope, work, mine, succeeded=result is not None)
    return result


def _take_over(work: Work, mine: dict[int, Attempt]) -> bool:
    """In a state of another version: go on from the newest attempt's Job where there is one; else all stays as it is."""
    attempt = mine.get(attempts.newest(work, mine))
    if attempt is None or attempt.job is None:
        return False
    work.set_state(State.STARTING, reasons.STARTING, f"{work.title}: {work.attempt} is being started")
    return True


def _adopt(work: Work, mine: dict[int, Attempt]) -> None:
    """Know of the newest Job, also where the status that should name it was never written."""
    number = attempts.newest(work, mine)
    status = work.status
    if number > (-1 if status.attempt is None else status.attempt):
        status.attempt, status.job, status.order, status.not_before = number, None, None, None
        work.set_state(State.STARTING, reasons.STARTING, f"{work.title}: {work.attempt} is being started")


def _recall_input(scope: Scope[Any], work: Work, mine: dict[int, Attempt], start: Startable | Blocker) -> None:
    """Tell from its order what an adopted Job works on: the status that should say it was never written.

    An order of something else than what is there now stands for an input of its own, which is another one.
    """
    status = work.status
    attempt = mine.get(-1 if status.attempt is None else status.attempt)
    if status.input is not None or status.state not in ACTIVE or attempt is None or attempt.job is None:
        return
    if isinstance(start, Startable):
        order = jobs.order_of(attempt.job)
        status.input = start.input if order == jobs.order_name(scope, start, attempt.number) else order or attempt.name


def _note(work: Work, mine: dict[int, Attempt]) -> None:
    """Remember that the newest Job was seen: when it is missed later, somebody has deleted it."""
    attempt = mine.get(work.status.attempt or 0)
    if attempt is not None and (job := attempt.seen_job) is not None:
        work.status.job, work.status.order = attempt.name, jobs.order_of(job)
        work.status.start_time = work.status.start_time or times.parse(job["metadata"].get("creationTimestamp"))


def _begin(scope: Scope[Any], work: Work, mine: dict[int, Attempt], start: Startable | Blocker) -> None:
    """Ask for the next attempt's Job, once its back-off is over, nothing of an older one runs, and all that it needs is there."""
    status, now = work.status, scope.now
    # What lies further ahead than any back-off was written by a clock that was ahead.
    if status.not_before is not None and now < status.not_before <= now + failure_policy.LONGEST_BACK_OFF:
        scope.look_again_at(status.not_before)
        return
    # A Job that was asked for and has not been seen, nor any pod of it, is asked for again; any other is a new attempt.
    created = status.state is State.STARTING and status.attempt is not None and status.attempt not in mine
    older = [attempt for attempt in mine.values() if attempt.alive(now)]
    if older:
        ending = ", ".join(f"attempt {attempt.number + 1}" for attempt in older)
        begins = failure_policy.start_after_gang(work, older)
        status.not_before = begins or status.not_before
        then = f"; the next one starts at {times.time_of_day(begins)}" if begins else ""
        work.wait(Blocker(work.status.reason or reasons.STARTING, f"{work.title} waits for {ending} to end{then}"))
        scope.look_again_at(now + timedelta(seconds=15))
        return
    if running := predecessors.alive(scope.view):
        work.wait(predecessors.blocker(scope.view.object.kind, running))
        scope.look_again_at(now + timedelta(seconds=15))
        return
    if not isinstance(start, Blocker):
        start = mounted_plugins.missing(scope.view, start.order) or start
    if isinstance(start, Blocker):
        work.wait(start)
        if start.reason in (reasons.WAITING_FOR_PLUGIN, reasons.PLUGIN_CHANGED):
            scope.look_again_at(now + mounted_plugins.AGAIN)
        return
    if not created:
        status.attempt = attempts.newest(work, mine) + 1
        if isinstance(status, FoldStatus):
            status.started_epoch = max(status.started_epoch or 0, status.epoch or 0)
    status.input, status.job, status.order, status.not_before = start.input, None, None, None
    work.set_state(State.STARTING, reasons.STARTING, f"{work.title}: {work.attempt} is being started")
    jobs.create(scope, start, status.attempt or 0)


def _report_pending(scope: Scope[Any], work: Work, pending: Pending) -> None:
    reason, message = pending_pods.explain(work, pending, scope.now)
    work.set_state(State.STARTING, reason, f"{work.title}: {message}")
    since = pending.scheduled or pending.podless
    if since is not None and scope.now < since + pending_pods.ORDINARY_START:
        scope.look_again_at(since + pending_pods.ORDINARY_START)
    _enforce(scope, work, pre_running_deadline_seconds.check(work, pending, scope.now))


def _watch(scope: Scope[Any], work: Work, running: Running) -> None:
    progress.of(scope, work, running)
    if running.pending is not None:
        _enforce(scope, work, pre_running_deadline_seconds.check(work, running.pending, scope.now))
    if work.status.state in ACTIVE:
        _enforce(scope, work, pre_running_deadline_seconds.check_gang(work, running, scope.now))
    if work.status.state in ACTIVE:
        _enforce(scope, work, active_deadline_seconds.check(work, scope.now))


def _enforce(scope: Scope[Any], work: Work, deadline: Failure | timedelta | None) -> None:
    if isinstance(deadline, Failure):
        _decide(scope, work, deadline)
    elif deadline is not None:
        scope.outcome.look_again_in(max(deadline, timedelta(seconds=1)))


def _decide(scope: Scope[Any], work: Work, failure: Failure) -> None:
    """What follows from a failed attempt, by the failure policy."""
    keep_running_time(work, None, failure.at)
    failure_policy.decide(work, failure)
    work.forget_eta()
    status = work.status
    if status.not_before is not None:
        scope.look_again_at(status.not_before)
    if status.state is State.BACKING_OFF:
        # The end is told by the Ready condition; this would otherwise be said only if Ready changed.
        scope.outcome.record(failure.reason, status.message or "", warning=True)
