"""`nnunet-operator run`: everything put together, from the first request to the last."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import signal
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, cast

import kopf

from ..controller.events import EventRecorder
from ..controller.one_pass import Reconciliation
from ..reconcile.view import Key
from . import preflight
from .api.client import Api
from .api.kinds import KINDS, OURS, WATCHED
from .api.kubeconfig import connect
from .cache.object_cache import ObjectCache
from .cache.versions import WentBack
from .lease import Lease
from .monitoring import metrics
from .monitoring.health import Health
from .object_client import UNANSWERED, CachedApi
from .settings import ClusterSettings
from .watch import watches
from .watch.list_watch import ListWatch
from .watch.progress_poller import ProgressPoller
from .watch.relist import Relist
from .watch.workload_poller import WorkloadPoller
from .work_queue import WorkQueue
from .workers import Workers

log = logging.getLogger(__name__)

GC_THRESHOLD = 5_000
"""Containers made, less those freed, after which Python looks for cycles among them: what is known of the cluster has none."""

LOST = 75
"""Exit status when the lease or the watches are lost: whoever started us starts us again."""


class Operator:
    """One process of the operator."""

    def __init__(self, settings: ClusterSettings, api: Api) -> None:
        self._settings, self._api = settings, api
        self._lease: Lease | None = None
        if settings.leader_election:
            self._lease = Lease(api, settings.lease_namespace, settings.lease_name, settings.identity)
            api.may_write = lambda: self._lease is not None and self._lease.held
        self._queue: WorkQueue[Key] = WorkQueue(metrics.queue_seconds.observe)
        metrics.queue_oldest.set_function(self._queue.oldest)
        self._cache = ObjectCache()
        self._poller = ProgressPoller(self._cache, settings.progress_seconds, self._wake, now=api.clock.now)
        client = CachedApi(api, self._cache, lambda: self._relist.soon())
        self._own_writes = client.own_writes
        recorder = EventRecorder(client, settings.identity, UNANSWERED)
        self._workloads: WorkloadPoller | None = None
        if settings.workload_seconds is not None:
            self._workloads = WorkloadPoller(api, self._cache, settings.workload_seconds, self._wake)
        said = self._workloads.found if self._workloads else None
        self._reconciliation = Reconciliation(client, self._cache, recorder, settings.reconcile, api.clock.now(), said)
        self._workers = Workers(
            self._cache,
            self._queue,
            self._reconciliation,
            self._poller.heard,
            api.clock.now,
            read_again=client.read_again,
        )
        self._relist = Relist(api, self._cache, settings.namespaces, settings.relist_seconds, self._wake)
        api.clock.jumped = lambda: self._wake(self._cache.keys(*OURS))
        self._phase = "starting"
        self._stop = asyncio.Event()

    def _wake(self, keys: Iterable[Key]) -> None:
        self._workers.wake(keys)

    def unready(self) -> str:
        """What keeps the operator from being ready; empty when it is."""
        if self._phase == "standby":
            return ""  # ready to take over
        if self._phase != "running":
            return self._phase
        if not self._relist.fresh:
            return f"behind the cluster: {', '.join(sorted(self._relist.behind)) or 'the API server was not heard for too long'}"
        return ""

    async def run(self) -> int:
        """Work until SIGTERM or SIGINT; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        health = Health(self._settings.http, self.unready) if self._settings.http else None
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            if health:
                await health.start()
            return await self._until(stopping, self._lead())
        finally:
            stopping.cancel()
            if health:
                await health.stop()

    async def _until(self, stopping: asyncio.Task[bool], life: Coroutine[Any, Any, int]) -> int:
        task = asyncio.create_task(life, name="life")
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return 0

    async def _lead(self) -> int:
        """Check the cluster, wait for the lease, work as long as it is ours."""
        lease_namespace = self._settings.lease_namespace if self._lease else None
        version = await preflight.check(self._api, self._settings.namespaces, lease_namespace)
        await self._check_what_settings_ask_for()
        log.info("Kubernetes %s, %s", version, ", ".join(self._settings.namespaces) or "all namespaces")
        if self._lease is None:
            return await self._work()
        self._phase = "standby"
        log.info("waiting for the lease %s/%s", lease_namespace, self._settings.lease_name)
        tasks: list[asyncio.Task[Any]] = []
        try:
            await self._lease.acquire()
            metrics.leading.set(1)
            work = asyncio.create_task(self._work(), name="work")
            keep = asyncio.create_task(self._lease.keep(), name="lease")
            tasks = [work, keep]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            log.error("the lease is lost")
            return LOST
        finally:
            await _end(tasks)
            await self._stand_down()

    async def _stand_down(self) -> None:
        """Let another replica begin; nothing is written any more."""
        metrics.leading.set(0)
        if self._lease is not None:
            await self._lease.release()

    async def _check_what_settings_ask_for(self) -> None:
        """Their permissions. Gang scheduling is done without where the API server does not offer it."""
        settings = self._reconciliation.settings
        needed, gangs = await preflight.asked_for(self._api, self._settings)
        if settings.gang_scheduling and not gangs:
            log.warning("--gang-scheduling is ignored: the API server has no PodGroups (%s)", KINDS["PodGroup"].api_version)
            self._reconciliation.settings = dataclasses.replace(settings, gang_scheduling=False)
        await preflight.check_permissions(self._api, self._settings.namespaces, *needed)

    async def _work(self) -> int:
        """List everything, then reconcile and watch."""
        self._phase = "listing the cluster"
        await self._relist.fill()
        self._wake(self._cache.keys(*OURS))
        gc.collect()
        gc.freeze()  # else each collection would look through the program itself
        gc.set_threshold(GC_THRESHOLD)
        log.info("working; %d objects known", len(self._cache))
        self._reconciliation.listening_since = self._api.clock.now()
        tasks = [asyncio.create_task(self._workers.work(), name=f"worker {i}") for i in range(self._settings.workers)]
        tasks += [asyncio.create_task(watch.run(), name=name) for name, watch in self._list_watches().items()]
        tasks.append(asyncio.create_task(self._relist.run(), name="relist"))
        tasks.append(asyncio.create_task(self._poller.run(), name="progress"))
        tasks.append(asyncio.create_task(self._workers.count_objects(), name="metrics"))
        if self._workloads:
            tasks.append(asyncio.create_task(self._workloads.run(), name="workloads"))
        try:
            return await self._watch(tasks)
        finally:
            self._phase = "stopping"
            await _end(tasks)
            self._queue.close()

    def _list_watches(self) -> dict[str, ListWatch]:
        """The watches of what is not ours: each begins where it was listed."""
        changed, deleted, soon = self._workers.changed, self._workers.deleted, self._relist.soon
        return {
            f"watch of {WATCHED[kind].plural} in {scope or 'all namespaces'}": ListWatch(
                self._api, WATCHED[kind], scope, version, changed=changed, deleted=deleted, listed=soon, failed=soon
            )
            for (kind, scope), version in self._relist.versions.items()
            if kind not in OURS
        }

    async def _watch(self, tasks: list[asyncio.Task[None]]) -> int:
        """Run kopf's watches until told to stop, or until something ended that never should."""
        tell = {"listed": self._listed, "changed": self._workers.changed, "deleted": self._workers.deleted}
        handlers = watches.registry(self._api, self._own_writes, **tell)
        stop_kopf = asyncio.Event()
        before = asyncio.all_tasks()
        namespaces = self._settings.namespaces
        root = await kopf.spawn_tasks(
            registry=handlers,
            settings=watches.operator_settings(self._relist.soon),
            clusterwide=not namespaces,
            namespaces=namespaces,
            standalone=True,
            # Left out, kopf makes one of the user's name; in our image the user has none. (A `str` by a private name.)
            identity=cast(Any, self._settings.identity),
            stop_flag=stop_kopf,
        )
        for number in (signal.SIGTERM, signal.SIGINT):  # kopf took them; our own order of stopping is the faster one
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        watching = asyncio.create_task(kopf.run_tasks(root, ignored=before), name="watches")
        self._phase = "running"
        self._relist.soon()  # also when there is nothing that a watch could list: all of it may just have been deleted
        try:
            done, _ = await asyncio.wait({watching, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _end(tasks)  # first: kopf waits for what runs beside it
            await self._stand_down()  # the next replica need not wait for kopf
            stop_kopf.set()
            await asyncio.wait({watching}, timeout=1)
            raise
        ended = next(iter(done))
        problem = ended.exception()
        if isinstance(problem, WentBack):
            log.error("%s; whoever started the operator starts it anew, and it lists everything", problem)
            return LOST
        log.error("%s ended: %s", ended.get_name(), problem or "nobody asked for it", exc_info=problem)
        return LOST

    def _listed(self, manifest: dict[str, object]) -> None:
        """A watch begins (anew): what was deleted before it began, it does not tell."""
        self._relist.soon()
        self._workers.changed(manifest)


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run(settings: ClusterSettings) -> int:
    """Run the operator; the exit status.

    Raises:
        Fault: the cluster cannot be worked with; the message says why.
    """
    api = await connect(settings.kubeconfig, settings.context, in_cluster=settings.in_cluster)
    try:
        return await Operator(settings, api).run()
    finally:
        await api.close()
