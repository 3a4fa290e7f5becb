"""The Jobs of a piece of work: made, and deleted once what came of them is safe in the status."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ...api import reasons
from ...api.common import State, WorkStatus
from ...manifests import names, work_order
from ...manifests.job import children
from ...manifests.job_parameters import JobParameters
from .. import times
from ..blocker import Blocker
from ..observed import attempts
from ..observed.attempt_states import Pending
from ..observed.attempts import Attempt
from ..outcome import Delete
from ..references import mounted_plugins
from ..scope import Scope
from ..view import Manifest
from ..work import ACTIVE, Startable, Work

ORDINARY_MOUNT = timedelta(seconds=3)
"""So long after it got its node, a pod is expected to have its volumes."""
AGAIN = timedelta(seconds=15)


def create(scope: Scope[Any], start: Startable, attempt: int) -> None:
    """Have an attempt's Job, after its work order and its Service."""
    first, job = children(_parameters(scope, start, attempt))
    scope.outcome.apply += first
    scope.outcome.create.append(job)


def delete_settled(scope: Scope[Any], work: Work, mine: dict[int, Attempt], *, succeeded: bool = False) -> None:
    """Delete each Job whose outcome stands in the *stored* status, once that is so: what this pass decides may never be written.

    Args:
        succeeded: the newest attempt; that is yet to be said in the status.
    """
    status, newest = work.status, mine.get(work.status.attempt or 0)
    if status.order and status.state not in ACTIVE and (newest is None or newest.job is None):
        # Somebody else has deleted the Job; its order and its Service are left.
        scope.outcome.delete += [Delete("ConfigMap", status.order, ""), Delete("Service", status.job or status.order, "")]
        if scope.view.settings.gang_scheduling:
            scope.outcome.delete.append(Delete("PodGroup", status.job or status.order, ""))
        status.order = None
    for attempt in mine.values():
        over = succeeded and attempt.number == status.attempt
        if attempt.job is None or (not over and _is_kept(status, attempt)):
            continue
        stored, outcome = not _is_kept(work.stored, attempt), scope.outcome
        (outcome.delete if stored else outcome.delete_once_stored).extend(_deletions(scope, attempt))


def make_order_again(scope: Scope[Any], work: Work, mine: dict[int, Attempt], pending: Pending, start: Startable | Blocker) -> None:
    """What a pod needs to start and somebody may have deleted, its order and its Service, is made again where it is missing.

    After a long wait (in a queue, for a node) at once, before the pod needs it; else where a pod does not start on its node. Where
    what is there to start from has changed since, the order is another one, and the attempt ends by its deadline.
    """
    attempt = mine[attempts.newest(work, mine)]
    if isinstance(start, Blocker) or attempt.job is None:
        return
    placed = pending.pod and pending.reason != reasons.UNSCHEDULABLE
    waited = work.stored.state is State.QUEUED or (placed and work.stored.reason == reasons.UNSCHEDULABLE)
    if not waited and not placed:
        return
    since = pending.scheduled or times.parse(attempt.job["metadata"].get("creationTimestamp")) or scope.now
    if not waited and scope.now < since + ORDINARY_MOUNT:
        scope.look_again_at(since + ORDINARY_MOUNT)
        return
    if order_name(scope, start, attempt.number) == order_of(attempt.job):
        scope.outcome.create_missing += children(_parameters(scope, start, attempt.number))[0]
    scope.look_again_at(scope.now + (ORDINARY_MOUNT if waited else AGAIN))


def order_of(job: Manifest) -> str | None:
    """The ConfigMap that a Job reads its order from, where that bears the name of such a one: others are nobody's to delete."""
    volumes = job.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", [])
    found = next((v["configMap"]["name"] for v in volumes if v.get("name") == "order" and "configMap" in v), None)
    return found if found is not None and names.is_config_map_of(str(job["metadata"]["name"]), found) else None


def order_name(scope: Scope[Any], start: Startable, attempt: int) -> str:
    """The ConfigMap that an attempt's Job would read its order from, were it made now: its name holds the order's digest."""
    return work_order.name(_parameters(scope, start, attempt))


def delete(scope: Scope[Any], attempt: Attempt) -> None:
    """Have no Job, no Service and no work order of an attempt any more; its pods get their grace period."""
    scope.outcome.delete += _deletions(scope, attempt)


def is_settled(scope: Scope[Any], works: Iterable[Work]) -> bool:
    """Whether all is over and, once the Outcome is carried out, no Job and no work order is left."""
    outcome = scope.outcome
    gone = {delete.uid for delete in (*outcome.delete, *outcome.delete_once_stored) if delete.kind == "Job"}
    over = all(work.status.state.finished and work.status.order is None for work in works)
    return over and not outcome.delete_self and all(job["metadata"]["uid"] in gone for job in scope.view.jobs)


def _parameters(scope: Scope[Any], start: Startable, attempt: int) -> JobParameters:
    parameters = start.job(attempt)
    return dataclasses.replace(parameters, order=mounted_plugins.ordered(scope.view, parameters.order))


def _deletions(scope: Scope[Any], attempt: Attempt) -> list[Delete]:
    job, found = attempt.job, []
    if job is None or job["metadata"].get("deletionTimestamp"):
        return []
    # Their names hold the owner's uid and a digest or the attempt: no other object can bear them.
    order, pod = order_of(job), job.get("spec", {}).get("template", {}).get("spec", {})
    if order:
        found.append(Delete("ConfigMap", order, ""))
    if pod.get("subdomain") == attempt.name:
        found.append(Delete("Service", attempt.name, ""))
    # Without the setting there may be no right to: then it goes with its owner.
    if scope.view.settings.gang_scheduling and (pod.get("schedulingGroup") or {}).get("podGroupName") == attempt.name:
        found.append(Delete("PodGroup", attempt.name, ""))
    # Last: as long as it is there, it tells what else is to be deleted, should the operator be killed before all is.
    return [*found, Delete("Job", attempt.name, job["metadata"].get("uid", ""))]


def _is_kept(status: WorkStatus, attempt: Attempt) -> bool:
    """The newest attempt while it is at work, and a failed one for its logs; one that the status does not know of yet."""
    if status.attempt is None or attempt.number > status.attempt:
        return True
    if attempt.number < status.attempt:
        return False
    return status.state in ACTIVE or (attempt.finished and status.state in (State.BACKING_OFF, State.FAILED))
