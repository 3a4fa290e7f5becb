"""Reads the Workloads of Kueue while a Job of ours waits in a queue: what it waits for is said by nobody else.

They are read now and then rather than watched: they are as long as their Jobs, and change with each turn of Kueue's scheduler.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from ...manifests import names, ownership
from ...reconcile.view import Key, Manifest
from ..api.client import Api
from ..api.errors import CONNECTION_ERRORS, ApiError, text_of
from ..api.kinds import WORKLOAD, ApiKind
from ..cache.known import labels_of
from ..cache.object_cache import ObjectCache

log = logging.getLogger(__name__)

PER_SECOND = 50
"""So many Workloads are read each second; with more Jobs that wait they are read less often."""


class WorkloadPoller:
    """Keeps what Kueue says of each Job that waits in a queue, by the Job's uid.

    Args:
        every: seconds between two readings while a Job waits.
        wake: called with the owners of Jobs of which something else is said than before.
    """

    def __init__(self, api: Api, cache: ObjectCache, every: float, wake: Callable[[Iterable[Key]], None]) -> None:
        self.found: dict[str, Manifest] = {}
        self._api, self._cache, self._every, self._wake = api, cache, every, wake
        self._kind: ApiKind | None = None
        self._problem = ""
        self._count = 0  # of the Workloads that the last reading met, anybody's

    async def run(self) -> None:
        """Read for ever."""
        while True:
            try:
                await self.read()
                self._problem = ""
            except (ApiError, *CONNECTION_ERRORS) as error:
                self._kind = None
                why = text_of(error)
                self._say(f"Kueue's Workloads cannot be read, so a Job that waits says its queue alone: {why}")
            await asyncio.sleep(max(self._every, self._count / PER_SECOND))

    async def read(self) -> None:
        """Read once, where a Job waits.

        Raises:
            ApiError: Kueue is not installed, or its Workloads may not be read.
        """
        waiting, self._count = self._waiting(), 0
        news: dict[str, Manifest] = {}
        if waiting:
            kind = self._kind = self._kind or await self._served()
            for namespace in sorted({job["metadata"]["namespace"] for job in waiting.values()}):
                async for page in self._api.pages(kind, namespace):
                    self._count += len(page["items"])
                    for workload in page["items"]:
                        _, uid = ownership.controlling_job(workload) or ("", "")
                        if uid in waiting and waiting[uid]["metadata"]["namespace"] == namespace:
                            news[uid] = _short(workload)
        changed = {uid for uid in news.keys() | self.found.keys() if news.get(uid) != self.found.get(uid)}
        # In place: Views are made from this very dictionary.
        self.found.clear()
        self.found.update(news)
        self._wake({owner for uid in changed & waiting.keys() if (owner := _owner(waiting[uid]))})

    def _waiting(self) -> dict[str, Manifest]:
        jobs = (job for job in self._cache.all("Job") if names.QUEUE in labels_of(job) and job["spec"].get("suspend"))
        return {job["metadata"]["uid"]: job for job in jobs if not job["metadata"].get("deletionTimestamp")}

    async def _served(self) -> ApiKind:
        """The version of Workloads that this cluster prefers: what is read is in all of them."""
        group = await self._api.request("GET", f"/apis/{WORKLOAD.group}")
        return WORKLOAD._replace(version=str(group["preferredVersion"]["version"]))

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("%s", problem)
        self._problem = problem


def _short(workload: Manifest) -> Manifest:
    """What is looked at, without the pod templates."""
    status: dict[str, Any] = workload.get("status") or {}
    conditions = [
        {name: condition.get(name) for name in ("type", "status", "message")} for condition in status.get("conditions") or []
    ]
    checks = [{name: check.get(name) for name in ("name", "state", "message")} for check in status.get("admissionChecks") or []]
    active = (workload.get("spec") or {}).get("active")
    return {"spec": {"active": active}, "status": {"conditions": conditions, "admissionChecks": checks}}


def _owner(job: Manifest) -> Key | None:
    found = ownership.controlling_resource(job)
    return Key(found[0], job["metadata"]["namespace"], found[1]) if found else None
