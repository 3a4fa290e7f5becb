"""How both shells make a View from what they have in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from ..api.resources import KINDS, Resource, TrainingRun
from ..manifests import ownership
from .kinds import invalid
from .observed import predecessors
from .policies import retention
from .references import dependencies
from .view import Heard, Key, Manifest, Settings, View

MOST_REFERENCES = 64
"""How many objects are followed from one: chains of runs are short, and a mistake must not cost much."""

MOST_PARSED = 256
"""References that are kept parsed."""


class Objects(Protocol):
    """The newest known version of every object."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object, or None when there is none."""

    def owned(self, uid: str, kind: str) -> Iterable[Manifest]:
        """The objects of a kind (Job, Pod) whose label `nnunet.dev/owner-uid` is this uid; anybody may have put it there."""

    def of_namesakes(self, kind: str, namespace: str, name: str, uid: str) -> Iterable[Manifest]:
        """Jobs and pods whose labels name an object of this kind, namespace and name that has another uid than this."""

    def dependents(self, key: Key) -> Iterable[Manifest]:
        """The objects of our kinds that `dependencies.needed_by` says refer to this one."""

    def deleted_pods(self, job: str) -> Iterable[Manifest]:
        """The last state of those deleted pods whose controller is the Job with this uid."""

    def deleted_jobs(self, uid: str) -> Iterable[Manifest]:
        """The last state of those Jobs of the object with this uid that were seen, and that somebody else has deleted."""


def build_view(
    objects: Objects,
    key: Key,
    now: datetime,
    settings: Settings | None = None,
    heard: Mapping[str, Heard] | None = None,
    listening_since: datetime | None = None,
    workloads: Mapping[str, Manifest] | None = None,
    *,
    plugins: Mapping[str, str | None] | None = None,
    namespace_terminating: bool = False,
) -> View[Any] | None:
    """All that `reconcile` may look at, or None when there is nothing to do: the object is gone, or going and not held by us."""
    manifest = objects.get(*key)
    if manifest is None or (is_deleted(manifest) and not retention.is_held(manifest["metadata"].get("finalizers"))):
        return None
    resource = invalid.parse(manifest)
    uid = resource.metadata.uid
    jobs = tuple(sorted((job for job in objects.owned(uid, "Job") if ownership.is_controlled_by(job, manifest)), key=_name))
    pods = tuple(sorted(_pods(objects, manifest, jobs), key=_name))
    wanted = [(key, found) for key in dependencies.wanted_by(resource) if (found := objects.get(*key)) is not None]
    own = {found["metadata"].get("uid") for _, found in wanted if ownership.is_controlled_by(found, manifest)}
    return View(
        object=resource,
        now=now,
        settings=settings or Settings(),
        references=_follow(objects, resource),
        children=tuple(invalid.parse(found) for _, found in wanted if found["metadata"].get("uid") in own),
        name_conflicts=tuple(key for key, found in wanted if found["metadata"].get("uid") not in own),
        namespace_terminating=namespace_terminating,
        plugins=plugins or {},
        jobs=jobs,
        pods=pods,
        # Anybody may name our Job, or this object, as the controller of what is in another namespace.
        deleted_pods=tuple(
            pod for job in jobs for pod in objects.deleted_pods(job["metadata"]["uid"]) if ownership.is_controlled_by(pod, job)
        ),
        deleted_jobs=tuple(job for job in objects.deleted_jobs(uid) if ownership.is_controlled_by(job, manifest)),
        dependents=tuple(map(invalid.parse, objects.dependents(key))) if is_deleted(manifest) or _may_expire(resource) else (),
        predecessors=tuple(predecessors.children(objects.of_namesakes(*key, uid), manifest)),
        heard={uid: heard[uid] for pod in pods if (uid := pod["metadata"].get("uid")) in heard} if heard else {},
        listening_since=listening_since,
        workloads={uid: workloads[uid] for job in jobs if (uid := job["metadata"].get("uid")) in workloads} if workloads else {},
    )


def is_deleted(manifest: Manifest) -> bool:
    """Whether somebody has deleted an object; finalizers may hold it."""
    return bool(manifest["metadata"].get("deletionTimestamp"))


def _is_lost(manifest: Manifest) -> bool:
    """Whether an object is no longer to be referred to. One that is held has its results until their deletion begins."""
    begun = (manifest.get("status") or {}).get("deletion") is not None
    return is_deleted(manifest) and (begun or not retention.is_held(manifest["metadata"].get("finalizers")))


def _follow(objects: Objects, resource: Resource) -> dict[Key, Resource]:
    """What an object refers to, and what that refers to, and so on."""
    found: dict[Key, Resource] = {}
    ahead = dependencies.needed_by(resource)
    while ahead and len(found) < MOST_REFERENCES:
        key = ahead.pop(0)
        if key in found or key.kind not in KINDS:
            continue
        manifest = objects.get(*key)
        if manifest is None or _is_lost(manifest):
            continue
        found[key] = _parse_reference(manifest)
        ahead += dependencies.needed_by(found[key])
    return found


def _may_expire(resource: Resource) -> bool:
    """Whether a run may be deleted when its time to live is over: it has ended."""
    ended = isinstance(resource, TrainingRun) and resource.status.completion_time is not None
    return ended and resource.spec.ttl_seconds_after_finished is not None


_parsed: OrderedDict[str, tuple[Manifest, str, Resource]] = OrderedDict()
"""References by uid, with what they were parsed from: a thousand runs refer to the same Plans."""


def _parse_reference(manifest: Manifest) -> Resource:
    uid, version = manifest["metadata"].get("uid"), manifest["metadata"].get("resourceVersion")
    if not uid or not version:
        return invalid.parse(manifest)
    known = _parsed.get(uid)
    if known is None or known[0] is not manifest or known[1] != version:
        known = _parsed[uid] = (manifest, version, invalid.parse(manifest))
        if len(_parsed) > MOST_PARSED:
            _parsed.popitem(last=False)
    return known[2]


def _pods(objects: Objects, owner: Manifest, jobs: Iterable[Manifest]) -> Iterable[Manifest]:
    """The pods that these Jobs control, and those of Jobs that are gone: the garbage collector has yet to take them."""
    space, mine = owner["metadata"].get("namespace"), {job["metadata"].get("uid") for job in jobs}
    for pod in objects.owned(owner["metadata"]["uid"], "Pod"):
        reference = ownership.controlling_job(pod) if pod["metadata"].get("namespace") == space else None
        if reference is None:
            continue
        name, uid = reference
        job = objects.get("Job", space, name)
        if uid in mine or job is None or job["metadata"].get("uid") != uid:
            yield pod


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])
