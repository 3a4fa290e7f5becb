"""The life of one piece of work, whichever it is: start, watch, retry, finish, tidy."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from nnunet_trainer.contract.report import Report

from ...api import reasons
from ...api.common import State, WorkStatus
from ...api.training_run import FoldStatus
from .. import times
from ..observed import attempts, failures, progress
from ..observed.attempts import Attempt, Failed, NotStarted, Pending, Queued, Running, Stopping, Succeeded, Unreported, Vanished
from ..observed.failures import Cause, Failure
from ..policies import deadlines, failure_policy
from ..scope import Scope, order_of
from ..status import events
from ..work import ACTIVE, Blocker, Ready, Work


class Result(NamedTuple):
    """A report that holds what was wanted, and when the Job was done."""

    report: Report
    at: datetime


def advance(scope: Scope[Any], work: Work, start: Ready | Blocker) -> Result | None:
    """Take a piece of work one step on; returns its result in the pass in which it is first seen."""
    mine = attempts.of(scope.view, work)
    if work.status.state.finished or work.status.state is State.SUSPENDED:
        _tidy(scope, work, mine)
        return None
    now, result = scope.now, None
    _adopt(work, mine)
    state = attempts.state(work, mine, now)
    if not isinstance(state, (NotStarted, Stopping, Pending)):
        _note(work, mine)
    match state:
        case NotStarted():
            _begin(scope, work, mine, start)
        case Stopping():
            scope.look_again_at(now + timedelta(seconds=5))
        case Queued():
            deadlines.run_clock(work, None, now)
            work.say(State.QUEUED, reasons.QUEUED, f"{work.title}: {work.attempt} waits in its queue")
        case Pending() as pending:
            deadlines.run_clock(work, None, now)
            _report_pending(scope, work, pending)
        case Running() as running:
            deadlines.run_clock(work, running.since, now)
            _watch(scope, work, running)
        case Succeeded(report, at) if report.artifact(work.artifact):
            deadlines.run_clock(work, None, at)
            result = Result(report, at)
            scope.out.look_again_in(timedelta(seconds=1))  # its Job goes once this is stored
        case Succeeded(_, at) | Unreported(at):
            _decide(scope, work, _unreported(at))
        case Failed(attempt, at):
            _decide(scope, work, failures.classify(attempt, at))
        case Vanished():
            _decide(scope, work, _vanished(now))
    _tidy(scope, work, mine)
    return result


def succeed(work: Work, result: Result, reason: str, message: str) -> None:
    """The good end."""
    work.say(State.SUCCEEDED, reason, message)
    work.status.completion_time = result.at
    work.status.phase = work.status.not_before = work.status.last_heard = work.status.order = None


def _adopt(work: Work, mine: dict[int, Attempt]) -> None:
    """Know of the newest Job, also where the status that should name it was never written."""
    number = attempts.newest(work, mine)
    status = work.status
    if number > (-1 if status.attempt is None else status.attempt):
        status.attempt, status.job, status.order, status.not_before = number, None, None, None
        work.say(State.STARTING, reasons.STARTING, f"{work.title}: {work.attempt} is being started")


def _note(work: Work, mine: dict[int, Attempt]) -> None:
    """Remember that the newest Job was seen: when it is missed later, somebody has deleted it."""
    attempt = mine.get(work.status.attempt or 0)
    if attempt is not None and attempt.job is not None:
        work.status.job, work.status.order = attempt.name, order_of(attempt.job)
        work.status.start_time = work.status.start_time or times.parse(attempt.job["metadata"].get("creationTimestamp"))


def _begin(scope: Scope[Any], work: Work, mine: dict[int, Attempt], start: Ready | Blocker) -> None:
    status, now = work.status, scope.now
    if status.not_before is not None and now < status.not_before:
        scope.look_again_at(status.not_before)
        return
    # A Job that was asked for and has not been seen, nor any pod of it, is asked for again; any other is a new attempt.
    created = status.state is State.STARTING and status.attempt is not None and status.attempt not in mine
    older = [attempt for attempt in mine.values() if attempt.alive(now)]
    if older:
        ending = ", ".join(f"attempt {attempt.number + 1}" for attempt in older)
        work.wait(Blocker(work.status.reason or reasons.STARTING, f"{work.title} waits for {ending} to end"))
        scope.look_again_at(now + timedelta(seconds=15))
        return
    if isinstance(start, Blocker):
        work.wait(start)
        return
    if not created:
        status.attempt = attempts.newest(work, mine) + 1
        if isinstance(status, FoldStatus):
            status.started_epoch = max(status.started_epoch or 0, status.epoch or 0)
    status.input, status.job, status.order, status.not_before = start.input, None, None, None
    work.say(State.STARTING, reasons.STARTING, f"{work.title}: {work.attempt} is being started")
    scope.create(start.step(status.attempt or 0))


def _report_pending(scope: Scope[Any], work: Work, pending: Pending) -> None:
    reason, message = deadlines.explain(work, pending, scope.now)
    work.say(State.STARTING, reason, f"{work.title}: {message}")
    since = pending.scheduled or pending.podless
    if since is not None and scope.now < since + deadlines.PATIENCE:
        scope.look_again_at(since + deadlines.PATIENCE)
    _obey(scope, work, deadlines.pre_running(work, pending, scope.now))


def _watch(scope: Scope[Any], work: Work, running: Running) -> None:
    progress.of(scope, work, running)
    if running.hindered is not None:
        _obey(scope, work, deadlines.pre_running(work, running.hindered, scope.now))
    if work.status.state in ACTIVE:
        _obey(scope, work, deadlines.active(work, scope.now))


def _obey(scope: Scope[Any], work: Work, deadline: Failure | timedelta | None) -> None:
    if isinstance(deadline, Failure):
        _decide(scope, work, deadline)
    elif deadline is not None:
        scope.out.look_again_in(max(deadline, timedelta(seconds=1)))


def _decide(scope: Scope[Any], work: Work, failure: Failure) -> None:
    deadlines.run_clock(work, None, failure.at)
    failure_policy.decide(work, failure)
    work.forget_eta()
    status = work.status
    if status.not_before is not None:
        scope.look_again_at(status.not_before)
    if status.state is State.BACKING_OFF:
        # The end is told by the Ready condition; this would otherwise be said only if Ready changed.
        scope.out.events.append(events.say(failure.reason, status.message or "", warning=True))


def _unreported(at: datetime) -> Failure:
    message = "succeeded, but its report could not be read (its pod is gone, or said something else)"
    return Failure(cause=Cause.UNREPORTED, reason=reasons.REPORT_MISSING, message=f"has {message}", at=at)


def _vanished(now: datetime) -> Failure:
    return Failure(cause=Cause.DISRUPTION, reason=reasons.DISRUPTED, message="was lost: somebody deleted its Job", at=now)


def _tidy(scope: Scope[Any], work: Work, mine: dict[int, Attempt]) -> None:
    """Delete each Job whose outcome stands in the *stored* status: what this pass decides may never be written."""
    status, newest = work.status, mine.get(work.status.attempt or 0)
    if status.order and status.state not in ACTIVE and (newest is None or newest.job is None):
        scope.delete_order(status.order, status.job or status.order)
        status.order = None
    for attempt in mine.values():
        if attempt.job is None or _kept(work.status, attempt):
            continue
        if _kept(work.stored, attempt):
            scope.out.look_again_in(timedelta(seconds=1))
        else:
            scope.delete(attempt)


def _kept(status: WorkStatus, attempt: Attempt) -> bool:
    """The newest attempt while it is at work, and a failed one for its logs; one that the status does not know of yet."""
    if status.attempt is None or attempt.number > status.attempt:
        return True
    if attempt.number < status.attempt:
        return False
    return status.state in ACTIVE or (attempt.finished and status.state in (State.BACKING_OFF, State.FAILED))
