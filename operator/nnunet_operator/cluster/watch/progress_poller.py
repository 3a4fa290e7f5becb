"""Asks running pods how far they are.

A pod is not trusted: its answer is limited in size and time, nothing is redirected, and what cannot be read is no answer.
A pod that does not answer trains on; when something was last heard stands in the status.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import aiohttp
from nnunet_trainer.contract import pod as pod_contract
from nnunet_trainer.contract import progress as progress_contract
from nnunet_trainer.contract.progress import Progress

from ...controller.object_client import key_of
from ...manifests import names, ownership
from ...reconcile.view import Heard, Key, Manifest
from ..cache.known import labels_of
from ..cache.object_cache import ObjectCache
from ..monitoring import metrics

log = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=5, sock_connect=2)
AT_ONCE = 16
"""So many pods are asked at the same time, and as many of those that did not answer when they were asked last: who hangs holds up
nobody else."""
PER_SECOND = 20
"""So many pods can be asked each second; with more of them each is asked less often."""
FIRST_SILENCE = 2.0
"""A pod that runs but has not answered yet is asked again after so many seconds, then less and less often."""


class ProgressPoller:
    """Keeps what was last heard of each running pod, by the pod's uid. A pod that none of our objects controls is not asked.

    Args:
        interval: the shortest and the longest time between two questions to a pod, in seconds.
        wake: called with the pod's owner when there is news.
        port: of the pods' `/progress`.
        now: this moment, as statuses tell when something was heard.
    """

    def __init__(
        self,
        cache: ObjectCache,
        interval: tuple[float, float],
        wake: Callable[[Iterable[Key]], None],
        *,
        port: int = pod_contract.PROGRESS_PORT,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.heard: dict[str, Heard] = {}
        self._cache, self._interval, self._wake, self._port, self._now = cache, interval, wake, port, now
        self._uids: dict[Key, str] = {}  # of the pods that were asked, or are to be
        self._next: dict[str, float] = {}  # of those that run: when they are asked next, on the monotonic clock
        self._queue: list[tuple[float, str, Key]] = []  # a heap of the same; what differs from `_next` is void
        self._silences: dict[str, int] = {}
        self._asking: set[str] = set()
        self._limit, self._limit_of_silent = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Ask for ever."""
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False, auto_decompress=False) as session:
            asking: set[asyncio.Task[None]] = set()
            try:
                while True:
                    for pod in self._due():
                        task = asyncio.create_task(self._ask(session, pod))
                        asking.add(task)
                        task.add_done_callback(asking.discard)
                    await asyncio.sleep(0.5)
            finally:
                for task in asking:
                    task.cancel()

    def _due(self) -> list[Manifest]:
        """The pods to be asked now. It costs what has changed and what is due, however many pods there are."""
        now = time.monotonic()
        for key in self._cache.take_changed_pods():
            self._look_at(key, now)
        shortest, longest = self._interval
        interval = min(longest, max(shortest, len(self._next) / PER_SECOND))
        due, put_off = [], []
        while self._queue and self._queue[0][0] <= now:
            moment, uid, key = heapq.heappop(self._queue)
            pod = self._cache.get(*key)
            if pod is None or self._next.get(uid) != moment:
                continue
            if uid in self._asking or self._owner(pod) is None:  # a Job may be seen after its pod
                put_off.append((moment, uid, key))
                continue
            early = FIRST_SILENCE * 2 ** min(self._silences.get(uid, 0), 10)
            self._ask_at(now + (interval if uid in self.heard else min(interval, early)), uid, key)
            due.append(pod)
        for entry in put_off:
            heapq.heappush(self._queue, entry)
        return due

    def _look_at(self, key: Key, now: float) -> None:
        """Take up a pod that runs now; forget one that does not, and what was heard of one that is gone."""
        pod = self._cache.get(*key)
        uid, before = pod["metadata"]["uid"] if pod else None, self._uids.get(key)
        if before is not None and before != uid:
            del self._uids[key]
            self.heard.pop(before, None)
            self._leave(before)
        if pod is None or uid is None:
            return
        if not _answers(pod):
            self._leave(uid)
        elif uid not in self._next:
            self._uids[key] = uid
            self._ask_at(now, uid, key)

    def _ask_at(self, moment: float, uid: str, key: Key) -> None:
        self._next[uid] = moment
        heapq.heappush(self._queue, (moment, uid, key))

    def _leave(self, uid: str) -> None:
        self._next.pop(uid, None)
        self._silences.pop(uid, None)

    async def _ask(self, session: aiohttp.ClientSession, pod: Manifest) -> None:
        uid = pod["metadata"]["uid"]
        self._asking.add(uid)
        try:
            async with self._limit_of_silent if self._silences.get(uid) else self._limit:
                progress = await self._fetch(session, pod["status"]["podIP"])
        finally:
            self._asking.discard(uid)
        if self._uids.get(key_of(pod)) != uid:
            return  # it is gone
        if progress is None:
            self._silences[uid] = self._silences.get(uid, 0) + 1
            return
        self._silences.pop(uid, None)
        before = self.heard.get(uid)
        self.heard[uid] = Heard(progress=progress, at=self._now())
        if (before is None or before.progress != progress) and (owner := self._owner(pod)):
            self._wake([owner])

    def _owner(self, pod: Manifest) -> Key | None:
        """The object of ours that controls the Job that controls a pod, all in one namespace; None when there is none."""
        space, found = pod["metadata"]["namespace"], ownership.controlling_job(pod)
        job = self._cache.get("Job", space, found[0]) if found else None
        reference = ownership.controlling_resource(job) if job and ownership.is_controlled_by(pod, job) else None
        owner = self._cache.get(reference[0], space, reference[1]) if reference else None
        return key_of(owner) if owner and job and ownership.is_controlled_by(job, owner) else None

    async def _fetch(self, session: aiohttp.ClientSession, address: str) -> Progress | None:
        host = f"[{address}]" if ":" in address else address
        outcome = "unreachable"
        try:
            async with session.get(f"http://{host}:{self._port}/progress", allow_redirects=False) as answer:
                outcome = "unreadable"
                if answer.status != 200:
                    return None
                body = b""
                async for chunk in answer.content.iter_chunked(4096):
                    body += chunk
                    if len(body) > progress_contract.MAX_BYTES:
                        return None
                progress = progress_contract.decode(body)
                outcome = "heard" if progress is not None else "unreadable"
                return progress
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
        finally:
            metrics.progress_requests.labels(outcome).inc()


def _answers(pod: Manifest) -> bool:
    """A pod that runs; of a training's pods the one with rank 0."""
    status, labels = pod.get("status") or {}, labels_of(pod)
    if status.get("phase") != "Running" or not status.get("podIP") or pod["metadata"].get("deletionTimestamp"):
        return False
    return labels.get(names.STEP) != "train" or labels.get(names.COMPLETION_INDEX, "0") == "0"
