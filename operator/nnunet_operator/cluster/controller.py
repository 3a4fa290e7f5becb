"""The workers: take a key, build its View, reconcile, make the Outcome so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from nnunet_trainer.contract.faults import Fault

from ..reconcile import reconcile
from ..reconcile.status.child_refused import refused
from ..reconcile.view import Heard, Key, Manifest, Settings
from ..reconcile.view_builder import build_view
from . import metrics
from .api.client import CONNECTION_ERRORS, ApiError, NotLeading
from .api.kinds import OURS
from .watch.cache import Store
from .work_queue import WorkQueue
from .write.writer import Outdated, Refused, Writer

log = logging.getLogger(__name__)

CONFLICT_DELAY = 0.5
"""Seconds, if the newer version does not come sooner by its watch."""


class Controller:
    """Turns what the store holds into what the cluster should hold."""

    def __init__(self, store: Store, queue: WorkQueue[Key], writer: Writer, settings: Settings, heard: Mapping[str, Heard]) -> None:
        self._store, self._queue, self._writer, self._settings, self._heard = store, queue, writer, settings, heard
        self._began = datetime.now(UTC)

    def wake(self, keys: Iterable[Key]) -> None:
        """Reconcile these soon."""
        for key in keys:
            self._queue.add(key)

    # -- what watches tell --

    def changed(self, manifest: Manifest) -> None:
        """An object was added or modified."""
        # Whom the old version concerned is concerned as well: a reference or a label may be gone.
        meta = manifest["metadata"]
        old = self._store.get(manifest["kind"], meta["namespace"], meta["name"])
        concerned = self._store.affected_by(old) if old is not None else set()
        if self._store.put(manifest):
            self.wake(concerned | self._store.affected_by(manifest))

    def deleted(self, manifest: Manifest) -> None:
        """An object was deleted."""
        concerned = self._store.affected_by(manifest)
        if self._store.remember_deleted(manifest):
            self.wake(concerned)

    # -- work --

    async def work(self) -> None:
        """One worker, for ever."""
        self._began = datetime.now(UTC)
        while True:
            key = await self._queue.get()
            metrics.queue_depth.set(len(self._queue))
            try:
                with metrics.reconcile_seconds.labels(key.kind).time():
                    await self._turn(key)
            finally:
                self._queue.done(key)

    async def _turn(self, key: Key) -> None:
        """One turn of one object. Nothing that goes wrong with it may end the worker."""
        try:
            look_again = await self._reconcile(key)
        except NotLeading:
            return
        except Outdated:
            self._queue.add_after(key, CONFLICT_DELAY)
        except (ApiError, Fault, Refused) as error:
            self._failed(key, error, getattr(error, "reason", "") or f"Http{getattr(error, 'code', '')}")
        except CONNECTION_ERRORS as error:
            self._failed(key, error, "NoConnection")
        except Exception as error:
            log.exception("a bug: reconciling failed", extra={"object": str(key)})
            self._failed(key, error, "Bug")
        else:
            self._queue.forget(key)
            if look_again is not None:
                self._queue.add_after(key, look_again)

    def _failed(self, key: Key, error: Exception, cause: str) -> None:
        metrics.errors.labels(key.kind, cause).inc()
        delay = self._queue.retry(key)
        log.warning("tried again in %.1f s: %s", delay, str(error) or type(error).__name__, extra={"object": str(key)})

    async def _reconcile(self, key: Key) -> float | None:
        """Seconds until the object wants to be looked at again, if it does."""
        about = self._store.get(key.kind, key.namespace, key.name)
        if about is None:
            return None
        view = build_view(self._store, key, datetime.now(UTC), self._settings, self._heard, self._began)
        if view is None:
            return None
        outcome = reconcile(view)
        log.debug("%s", outcome, extra={"object": str(key)})
        try:
            changed = await self._writer.carry_out(about, outcome)
        except Refused as refusal:
            await self._writer.carry_out(about, refused(view, refusal.child, refusal.why, outcome))
            written = self._store.get(key.kind, key.namespace, key.name)
            if written is not None and written is not about:
                self.wake(self._store.affected_by(written) - {key})  # itself is looked at again with back-off
            raise
        written = self._store.get(key.kind, key.namespace, key.name)
        if written is not None and written is not about:
            self.wake(self._store.affected_by(written))
        elif changed:
            self._queue.add(key)  # its children are others than those that this View showed
        return outcome.look_again.total_seconds() if outcome.look_again is not None else None

    async def count_objects(self, every: float = 5) -> None:
        """Keep the metric of objects by state."""
        while True:
            metrics.objects.clear()
            for kind in OURS:
                for manifest in self._store.all(kind):
                    found: list[Manifest] = (manifest.get("status") or {}).get("conditions") or []
                    ready: Manifest = next((c for c in found if c["type"] == "Ready"), {})
                    metrics.objects.labels(kind, ready.get("status", "Unknown"), ready.get("reason", "")).inc()
            await asyncio.sleep(every)
