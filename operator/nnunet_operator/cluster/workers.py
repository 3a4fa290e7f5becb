"""The workers: take a key from the queue, make a pass over its object, wake whom that concerns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from nnunet_trainer.contract.faults import Fault

from ..api.conditions import READY, STALLED, condition_of
from ..controller.carry_out import ChildRefused
from ..controller.object_client import Outdated, Rejected
from ..controller.one_pass import Reconciliation
from ..reconcile.view import Heard, Key, Manifest
from .api.client import CONNECTION_ERRORS, ApiError, NotLeading
from .api.kinds import OURS
from .monitoring import metrics
from .watch.cache import ObjectCache
from .work_queue import WorkQueue

log = logging.getLogger(__name__)

CONFLICT_DELAY = 0.5
"""Seconds, if the newer version does not come sooner by its watch."""
OUTAGE_RETRY = 15.0
"""The longest delay, in seconds, after an API server that was away or in trouble: that is no fault of the object's."""


class Workers:
    """Turn what the cache holds into what the cluster should hold."""

    def __init__(
        self,
        cache: ObjectCache,
        queue: WorkQueue[Key],
        reconciliation: Reconciliation,
        heard: Mapping[str, Heard],
        now: Callable[[], datetime],
    ) -> None:
        self._cache, self._queue, self._reconciliation, self._heard, self._now = cache, queue, reconciliation, heard, now

    def wake(self, keys: Iterable[Key]) -> None:
        """Reconcile these soon."""
        for key in keys:
            self._queue.add(key)

    # -- what watches tell --

    def changed(self, manifest: Manifest) -> None:
        """An object was added or modified."""
        # Whom the old version concerned is concerned as well: a reference or a label may be gone.
        meta = manifest["metadata"]
        old = self._cache.get(manifest["kind"], meta["namespace"], meta["name"])
        concerned = self._cache.affected_by(old) if old is not None else set()
        if self._cache.put(manifest):
            self.wake(concerned | self._cache.affected_by(manifest))

    def deleted(self, manifest: Manifest) -> None:
        """An object was deleted."""
        concerned = self._cache.affected_by(manifest)
        if self._cache.remember_deleted(manifest):
            self.wake(concerned)

    # -- work --

    async def work(self) -> None:
        """One worker, for ever."""
        while True:
            key = await self._queue.get()
            metrics.queue_depth.set(len(self._queue))
            try:
                with metrics.reconcile_seconds.labels(key.kind).time():
                    await self._reconcile(key)
            finally:
                self._queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        """One pass over one object. Nothing that goes wrong with it may end the worker."""
        try:
            look_again = await self._pass_over(key)
        except (Outdated, NotLeading):  # without the lease only for a moment: what was not done then is done after it
            self._queue.add_after(key, CONFLICT_DELAY)
        except (ApiError, Fault, ChildRefused, Rejected) as error:
            self._failed(key, error, getattr(error, "reason", "") or f"Http{getattr(error, 'code', '')}")
        except CONNECTION_ERRORS as error:
            self._failed(key, error, "NoConnection")
        except Exception as error:
            log.exception("a bug: reconciling failed", extra={"object": key})
            self._failed(key, error, "Bug")
        else:
            self._queue.forget(key)
            if look_again is not None:
                self._queue.add_after(key, look_again)

    def _failed(self, key: Key, error: Exception, cause: str) -> None:
        metrics.errors.labels(key.kind, cause).inc()
        in_trouble = isinstance(error, CONNECTION_ERRORS) or (
            isinstance(error, ApiError) and (error.code == 429 or error.code >= 500)
        )
        delay = self._queue.retry(key, OUTAGE_RETRY) if in_trouble else self._queue.retry(key)
        log.warning("tried again in %.1f s: %s", delay, str(error) or type(error).__name__, extra={"object": key})

    async def _pass_over(self, key: Key) -> float | None:
        """Seconds until the object wants to be looked at again, if it does."""
        before = self._cache.get(*key)
        passed = await self._reconciliation.pass_over(key, self._now(), self._heard)
        written = self._cache.get(*key)
        concerned = self._cache.affected_by(written) if written is not None and written is not before else set()
        if passed.refusal is not None:
            self.wake(concerned - {key})  # itself is looked at again with back-off
            raise passed.refusal
        self.wake(concerned)
        if passed.children_changed and not concerned:
            self._queue.add(key)  # its children are others than those that this View showed
        return passed.look_again.total_seconds() if passed.look_again is not None else None

    async def count_objects(self, every: float = 5) -> None:
        """Keep the metric of objects by state."""
        while True:
            metrics.objects.clear()
            metrics.stalled.clear()
            for kind in OURS:
                for manifest in self._cache.all(kind):
                    ready = condition_of(manifest, READY)
                    metrics.objects.labels(kind, ready.get("status", "Unknown"), ready.get("reason", "")).inc()
                    if condition_of(manifest, STALLED, "True"):
                        metrics.stalled.labels(kind, manifest["metadata"]["namespace"], ready.get("reason", "")).inc()
            await asyncio.sleep(every)
