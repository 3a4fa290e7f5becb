"""The workers: take a key from the queue, make a pass over its object, wake whom that concerns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime

from nnunet_trainer.contract.faults import Fault

from ..controller.carry_out import ChildRefused
from ..controller.object_client import Outdated, Rejected
from ..controller.one_pass import Reconciliation
from ..inspection import remedies
from ..reconcile.view import Heard, Key, Manifest
from .api.errors import CONNECTION_ERRORS, ApiError, NotLeading, text_of
from .api.kinds import OURS
from .cache.object_cache import ObjectCache
from .monitoring import metrics
from .work_queue import WorkQueue

log = logging.getLogger(__name__)

CHILDREN_DELAY = 0.1
"""Seconds. What a Job and its pods tell comes in bursts, as does what follows from our own writes: one pass looks at all of it."""
LEASE_DELAY = 0.5
"""Seconds after which what was not written without the Lease is looked at again: mostly it was gone for a moment."""
OUTAGE_RETRY = 15.0
"""The longest delay, in seconds, after an API server that was away or in trouble: that is no fault of the object's."""

OTHER = "Other"
"""In metrics, any reason that docs/troubleshooting.md of this version does not list."""


class Workers:
    """Turn what the cache holds into what the cluster should hold.

    Args:
        read_again: read an object from the API server into the cache.
    """

    def __init__(
        self,
        cache: ObjectCache,
        queue: WorkQueue[Key],
        reconciliation: Reconciliation,
        heard: Mapping[str, Heard],
        now: Callable[[], datetime],
        *,
        read_again: Callable[[Key], Awaitable[None]],
    ) -> None:
        self._cache, self._queue, self._reconciliation, self._heard, self._now = cache, queue, reconciliation, heard, now
        self._read_again = read_again

    def wake(self, keys: Iterable[Key]) -> None:
        """Reconcile these soon."""
        for key in keys:
            self._queue.add(key)

    # -- what watches tell --

    def changed(self, manifest: Manifest) -> None:
        """An object was added or modified."""
        self._wake_of(manifest["kind"], self._cache.change(manifest))

    def deleted(self, manifest: Manifest) -> None:
        """An object was deleted."""
        concerned = self._cache.affected_by(manifest)
        if self._cache.remember_deleted(manifest):
            self._wake_of(manifest["kind"], concerned)

    def _wake_of(self, kind: str, keys: Iterable[Key]) -> None:
        if kind in OURS:
            self.wake(keys)
        else:
            for key in keys:
                self._queue.add_after(key, CHILDREN_DELAY)

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
        except NotLeading:
            self._queue.add_after(key, LEASE_DELAY)
        except Outdated:
            await self._conflicted(key)
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

    async def _conflicted(self, key: Key) -> None:
        """Somebody has written it meanwhile: its watch brings that. What has not come by the second time is asked for."""
        metrics.conflicts.labels(key.kind).inc()
        self._queue.retry(key)
        if self._queue.failures(key) > 1:
            before = self._versions(key)
            try:
                await self._read_again(key)
            except (ApiError, *CONNECTION_ERRORS) as error:
                log.warning("could not be read again: %s", text_of(error), extra={"object": key})
            self.wake(self._concerned(key, before) - {key})

    def _failed(self, key: Key, error: Exception, cause: str) -> None:
        metrics.errors.labels(key.kind, cause).inc()
        in_trouble = isinstance(error, CONNECTION_ERRORS) or (
            isinstance(error, ApiError) and (error.code == 429 or error.code >= 500)
        )
        delay = self._queue.retry(key, OUTAGE_RETRY) if in_trouble else self._queue.retry(key)
        log.warning("tried again in %.1f s: %s", delay, text_of(error), extra={"object": key})

    async def _pass_over(self, key: Key) -> float | None:
        """Seconds until the object wants to be looked at again, if it does."""
        before = self._versions(key)
        try:
            passed = await self._reconciliation.pass_over(key, self._now(), self._heard)
        finally:
            concerned = self._concerned(key, before)  # also where something after a write went wrong
            self.wake(concerned - {key})
        if passed.refusal is not None:
            raise passed.refusal  # itself is looked at again with back-off
        if passed.settled:
            self._cache.settle(key)
        elif passed.children_changed or concerned:
            self._queue.add_after(key, CHILDREN_DELAY)  # its status, or its children, are others than those that this View showed
        return passed.look_again.total_seconds() if passed.look_again is not None else None

    def _versions(self, key: Key) -> dict[Key, str | None]:
        """Of an object, and of those of our kinds that it has made."""
        return {each: self._cache.version(each) for each in (key, *self._cache.made_by(key))}

    def _concerned(self, key: Key, before: dict[Key, str | None]) -> set[Key]:
        """Whom it concerns that these are other versions now, by answers to us: their events are no news to the cache."""
        changed = (each for each, version in (before | self._versions(key)).items() if version != before.get(each))
        return set().union(*map(self._cache.concerned_by, changed))

    async def count_objects(self, every: float = 5) -> None:
        """Keep the metric of objects by state."""
        while True:
            metrics.objects.clear()
            metrics.stalled.clear()
            for state, count in self._cache.states().items():
                # A pod, or a plug-in in it, may report any reason: each would be a series of its own for ever.
                reason = state.reason if not state.reason or remedies.of(state.reason) else OTHER
                metrics.objects.labels(state.kind, state.ready, reason).inc(count)
                if state.stalled:
                    metrics.stalled.labels(state.kind, state.namespace, reason).inc(count)
            await asyncio.sleep(every)
