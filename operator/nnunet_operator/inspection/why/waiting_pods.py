"""`why`, of Jobs and Pods: queue, scheduling, image, what must be there before a container starts, and the pod's own events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ...api import reasons
from ...api.conditions import condition_of
from ...manifests import ownership
from ...reconcile.observed import pending_pods, pods, queues
from ...reconcile.view import Manifest
from .. import printer_columns
from ..reader import ObjectReader
from .explanation import Explanation

MOST_PODS, MOST_EVENTS = 4, 3
NOTICED = timedelta(seconds=60)
"""So long an operator may take, when it has much to do, or is being replaced."""


def explain_job(
    job: Manifest, all_pods: list[Manifest], reader: ObjectReader, now: datetime, found: Explanation, depth: int
) -> None:
    """A Job down to its pods.

    Args:
        job: the newest attempt's.
        all_pods: of the object that owns the Job.
        reader: whatever else is looked at is asked of it.
        now: the time.
        found: is added to.
        depth: of the Job in it.
    """
    name, uid = job["metadata"]["name"], job["metadata"].get("uid")
    mine = [pod for pod in all_pods if ownership.controlling_job(pod) == (name, uid)]
    if ended := pods.condition(job, "Complete", "Failed"):
        ago = f" {printer_columns.age(at, now)} ago" if (at := ended.get("lastTransitionTime")) else ""
        found.step(depth, f"job/{name}", f"{ended['type']}{ago}: {ended.get('message') or ended.get('reason') or 'it has ended'}")
        return
    if (job.get("spec") or {}).get("suspend") and not mine:
        found.step(depth, f"job/{name}", queues.explain(job, reader.workload(job)), "waiting")
        found.met(reasons.QUEUED)
        return
    if not mine:
        age = printer_columns.age(job["metadata"]["creationTimestamp"], now)
        found.step(depth, f"job/{name}", f"was made {age} ago, and has no pod", "waiting")
        _events(job, reader, now, found, depth + 1)
        return
    found.step(depth, f"job/{name}", f"{len(mine)} pod{'s' if len(mine) != 1 else ''}")
    waiting = sorted(mine, key=lambda pod: ("running" in pods.container(pod), pods.index(pod), pods.name(pod)))
    for pod in waiting[:MOST_PODS]:
        _pod(pod, reader, now, found, depth + 1)
    if len(waiting) > MOST_PODS:
        found.step(depth + 1, f"and {len(waiting) - MOST_PODS} more", "")


def is_unnoticed(job: Manifest, now: datetime) -> bool:
    """Whether a Job ended so long ago that an operator that runs would have told it."""
    ended = (pods.condition(job, "Complete", "Failed") or {}).get("lastTransitionTime")
    return ended is not None and now - datetime.fromisoformat(ended) > NOTICED


def _pod(pod: Manifest, reader: ObjectReader, now: datetime, found: Explanation, depth: int) -> None:
    name, state = f"pod/{pods.name(pod)}", pods.container(pod)
    if deleted := pod["metadata"].get("deletionTimestamp"):
        left = printer_columns.until(deleted, now)
        found.step(depth, name, f"is being stopped; it has {left} left to save" if left else "is being stopped", "waiting")
        _node(pod, reader, found, depth + 1)
        return
    if ended := pods.terminated(pod):
        found.step(depth, name, f"has ended with exit code {ended.get('exitCode')} ({ended.get('reason', 'no reason')})", "bad")
        return
    if "running" in state:
        since = printer_columns.age(state["running"].get("startedAt") or pod["metadata"]["creationTimestamp"], now)
        found.step(depth, name, f"runs for {since} on node {(pod.get('spec') or {}).get('nodeName', '?')}", "good")
        _node(pod, reader, found, depth + 1)
        return
    if unscheduled := condition_of(pod, "PodScheduled", "False"):
        found.step(depth, name, f"waits for a node: {unscheduled.get('message') or 'it is not scheduled yet'}", "waiting")
        found.met(reasons.UNSCHEDULABLE)
    else:
        waits = state.get("waiting") or {}
        why = str(waits.get("reason") or "Pending")
        message = f": {waits['message']}" if waits.get("message") else ""
        found.step(depth, name, f"does not run yet, {why}{message}", "waiting")
        found.met(pending_pods.WAITING.get(why, ("", ""))[0])
        _node(pod, reader, found, depth + 1)
    _needs(pod, reader, found, depth + 1)
    _events(pod, reader, now, found, depth + 1)


def _node(pod: Manifest, reader: ObjectReader, found: Explanation, depth: int) -> None:
    """The pod's node, where it is not Ready."""
    name = (pod.get("spec") or {}).get("nodeName")
    node = reader.other("Node", "", name) if name else None
    if node is False:
        found.step(depth, f"node/{name}", "is not there any more", "bad")
    elif isinstance(node, dict) and (ready := condition_of(node, "Ready")) and ready.get("status") != "True":
        found.step(depth, f"node/{name}", f"is not Ready: {ready.get('message') or ready.get('reason')}", "bad")
        found.advise(f"Bring node {name} back, or delete it: kubectl get node {name}")


def _needs(pod: Manifest, reader: ObjectReader, found: Explanation, depth: int) -> None:
    """What must be there before the pod starts, where it is not."""
    namespace = pod["metadata"]["namespace"]
    for kind, name in dict.fromkeys(needs(pod)):
        there = reader.other(kind, namespace, name)
        if there is False:
            found.step(depth, f"{kind.lower()}/{name}", f"is not there, in namespace {namespace}", "bad")
            found.met(reasons.CONTAINER_CONFIG_ERROR)
            found.advise(f"Create the {kind} {name} in namespace {namespace}, or correct the name where it is referred to.")
        elif isinstance(there, dict) and kind == "PersistentVolumeClaim":
            phase = (there.get("status") or {}).get("phase", "Pending")
            if phase != "Bound":
                found.step(depth, f"persistentvolumeclaim/{name}", f"is {phase}: no volume is bound to it", "waiting")
                found.advise(f"See why the claim has no volume: kubectl -n {namespace} describe pvc {name}")


def needs(pod: Manifest) -> Iterator[tuple[str, str]]:
    """Kind and name of each Secret, ConfigMap and claim that a pod names and that is not marked as optional."""
    for text in pods.mounts(pod):
        kind, _, name = text.partition(" ")
        yield kind, name
    spec = pod.get("spec") or {}
    for secret in spec.get("imagePullSecrets") or []:
        yield "Secret", str(secret.get("name"))
    for container in spec.get("containers") or []:
        for variable in container.get("env") or []:
            source = variable.get("valueFrom") or {}
            for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                if (named := source.get(field)) and not named.get("optional"):
                    yield kind, str(named.get("name"))


def _events(about: Manifest, reader: ObjectReader, now: datetime, found: Explanation, depth: int) -> None:
    """The newest warnings about a Job or a Pod; where there are none, the newest event."""
    events = sorted(reader.events(about), key=event_time)
    warnings = [event for event in events if event.get("type") == "Warning"]
    for event in (warnings or events[-1:])[-MOST_EVENTS:]:
        series = event.get("series") or {}
        count = series.get("count") or event.get("count") or 1
        age = printer_columns.age(event_time(event), now) if event_time(event) else "?"
        often = f", {count} times" if count > 1 else ""
        found.step(depth, "event", f"{event.get('reason')} {age} ago{often}: {event.get('message', '')}", "dim")


def event_time(event: Manifest) -> str:
    """When an event was seen last, as RFC 3339; empty when it does not say."""
    series = event.get("series") or {}
    seen = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(seen or event["metadata"].get("creationTimestamp") or "")
