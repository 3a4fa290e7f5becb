"""The reconcile loop of one machine: what the cluster's shell does with watches and a queue, in one thread over the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ...api.resources import KINDS
from ...controller.events import EventRecorder
from ...controller.object_client import Outdated, key_of
from ...controller.one_pass import Reconciliation
from ...reconcile.view import Key, Settings
from ..machine.node import Node
from ..object_store.store import Store
from .progress_thread import ProgressThread
from .store_client import StoreClient
from .uri_map import UriMap

IDENTITY = "local"
TRY_AGAIN = timedelta(seconds=30)
"""After a child was refused; what changes in the store is taken up at once."""


class ReconcileLoop:
    """Makes what should be so, turn by turn.

    Args:
        store: the objects.
        node: the machine.
        settings: what an installation decides; here, the default storage.
        progress: who asks the pods.
        world: the store as reconcilers see it.
    """

    def __init__(self, store: Store, node: Node, settings: Settings, progress: ProgressThread, world: UriMap) -> None:
        client = StoreClient(store)
        self._store, self._node, self._progress = store, node, progress
        self._reconciliation = Reconciliation(client, world, EventRecorder(client, IDENTITY), settings, datetime.now(UTC))
        self._due: dict[Key, datetime] = {}
        self._seen: tuple[int, int] = (-1, -1)

    def turn(self) -> bool:
        """One turn: the machine, then every object that may have something to do. False when nothing had."""
        now = datetime.now(UTC)
        self._node.tick(now)
        self._progress.ask_from_now_on(self._node.living())
        seen = (self._store.revision(), self._progress.news)
        due = any(moment <= now for moment in self._due.values())
        if seen == self._seen and not due:
            return False
        asyncio.run(self._pass_over_all(now))
        self._seen = seen
        return True

    def run(self, until: Callable[[], bool], wait: Callable[[], None]) -> None:
        """Turn until `until` says so; `wait` is called between turns that found nothing to do."""
        while True:
            busy = self.turn()
            if not busy and until():
                return
            if not busy:
                wait()

    async def _pass_over_all(self, now: datetime) -> None:
        # All objects at once: there are few, and a reconciler that finds nothing to do writes nothing.
        for key in [key_of(manifest) for kind in KINDS for manifest in self._store.all(kind)]:
            await self._pass_over(key, now)

    async def _pass_over(self, key: Key, now: datetime) -> None:
        self._due.pop(key, None)
        try:
            passed = await self._reconciliation.pass_over(key, now, self._progress.heard)
        except Outdated:
            self._due[key] = now
            return
        delays = [delay for delay in (passed.look_again, TRY_AGAIN if passed.refusal else None) if delay is not None]
        if delays:
            self._due[key] = now + min(delays)
