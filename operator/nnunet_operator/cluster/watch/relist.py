"""The start gate, and what watches do not tell.

Before anything is reconciled, every kind is listed into the cache: a TrainingRun whose Jobs are not known yet would start
them again. Later, names and versions alone are listed every few minutes and after each reconnection: what the cache has and
the cluster has not was deleted while no watch was open; what stays behind the cluster shows a watch that is dead.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Callable, Iterable

from ...controller.object_client import key_of
from ...reconcile.view import Key, Manifest
from ..api.client import CONNECTION_ERRORS, Api, ApiError
from ..api.kinds import WATCHED, ApiKind
from ..monitoring import metrics
from .cache import ObjectCache, version_of

log = logging.getLogger(__name__)

SETTLE = 1.0
"""Seconds after a reconnection before the comparison: the watch delivers its own list first."""
GRACE = 5.0
"""Seconds that a watch may be behind."""
BEHIND = 30.0
"""Seconds between comparisons while a watch is behind."""
PATIENCE = 30.0
"""Seconds that the API server may be away before the operator is not ready."""


class Relist:
    """Compares the cache with the cluster.

    Args:
        namespaces: those that are watched; empty: all.
        wake: called with those whom a difference concerns.
    """

    def __init__(
        self, api: Api, cache: ObjectCache, namespaces: tuple[str, ...], every: float, wake: Callable[[Iterable[Key]], None]
    ) -> None:
        self._api, self._cache, self._every, self._wake = api, cache, every, wake
        self._scopes: tuple[str | None, ...] = namespaces or (None,)
        self._asked = asyncio.Event()
        self._compared_at = float("-inf")
        self._failing_since: float | None = None
        self.behind: frozenset[str] = frozenset()

    @property
    def fresh(self) -> bool:
        """Whether the cache was lately found to be as the cluster is."""
        now = time.monotonic()
        away = self._failing_since is not None and now - self._failing_since > PATIENCE
        return not self.behind and not away and now - self._compared_at < 2 * self._every + 60

    def soon(self) -> None:
        """Compare soon: a watch was interrupted."""
        self._asked.set()

    async def fill(self) -> None:
        """LIST everything into the cache; tries until it succeeds.

        Raises:
            ApiError: the cluster refuses to be listed.
        """
        for attempt in itertools.count(1):
            try:
                await self._fill()
                return
            except (ApiError, *CONNECTION_ERRORS) as error:
                if isinstance(error, ApiError) and error.code != 429 and error.code < 500:
                    raise
                log.warning("the cluster could not be listed: %s", error or type(error).__name__)
                await asyncio.sleep(min(10, attempt))

    async def _fill(self) -> None:
        for kind in WATCHED.values():
            for scope in self._scopes:
                async for page in self._api.pages(kind, scope):
                    for item in page["items"]:
                        self._cache.put(_with_kind(kind, item))
        self._compared_at = time.monotonic()

    async def run(self) -> None:
        """Compare for ever."""
        while True:
            try:
                async with asyncio.timeout(self._every * random.uniform(0.9, 1.1)):
                    await self._asked.wait()
                await asyncio.sleep(SETTLE)
            except TimeoutError:
                pass
            self._asked.clear()
            try:
                await self.compare()
            except (ApiError, *CONNECTION_ERRORS) as error:
                now = time.monotonic()
                self._failing_since = self._failing_since or now
                log.warning("the cluster could not be listed: %s", error or type(error).__name__)
                await asyncio.sleep(min(10, 1 + (now - self._failing_since) / 4))
                self._asked.set()
            else:
                self._failing_since = None

    async def compare(self) -> None:
        """One comparison of all kinds."""
        behind: dict[Key, int] = {}
        for kind in WATCHED.values():
            for scope in self._scopes:
                behind |= await self._compare(kind, scope)
        if behind:
            await asyncio.sleep(GRACE)
            await self._catch_up({key: version for key, version in behind.items() if self._version(key) < version})
        else:
            self._set_behind(frozenset())
        self._compared_at = time.monotonic()

    async def _compare(self, kind: ApiKind, scope: str | None) -> dict[Key, int]:
        """Drop ghosts; return what the cluster has newer than the cache."""
        known = [m for m in self._cache.all(kind.kind) if scope in (None, m["metadata"]["namespace"])]
        found: dict[Key, Manifest] = {}
        listed_at = 0
        async for page in self._api.pages(kind, scope, metadata_only=True):
            listed_at = listed_at or version_of(page)
            found |= {key_of(item): item for item in (_with_kind(kind, item) for item in page["items"])}
        for manifest in known:
            item = found.get(key_of(manifest))
            same = item is not None and item["metadata"]["uid"] == manifest["metadata"]["uid"]
            # What is newer than the list may have been made after it.
            if not same and version_of(manifest) <= listed_at:
                concerned = self._cache.affected_by(manifest)
                if self._cache.remember_deleted(manifest):
                    log.info("deleted while no watch was open", extra={"object": key_of(manifest)})
                    metrics.ghosts.labels(kind.kind).inc()
                    self._wake(concerned)
        return {key: version_of(item) for key, item in found.items() if self._version(key) < version_of(item)}

    async def _catch_up(self, late: dict[Key, int]) -> None:
        """Read what the watches owe. What is gone by now they may yet tell of."""
        owed = set()
        for key in late:
            manifest = await self._api.get(WATCHED[key.kind], key.namespace, key.name)
            if manifest is not None and self._cache.put(manifest):
                owed.add(key.kind)
                self._wake(self._cache.affected_by(manifest))
        self._set_behind(frozenset(owed))

    def _set_behind(self, kinds: frozenset[str]) -> None:
        for kind in WATCHED:
            metrics.watch_behind.labels(kind).set(kind in kinds)
        if kinds - self.behind:
            log.error("the watch of %s does not keep up; the cluster is listed instead", ", ".join(sorted(kinds)))
        if kinds:
            asyncio.get_running_loop().call_later(BEHIND, self.soon)
        self.behind = kinds

    def _version(self, key: Key) -> int:
        known = self._cache.get(key.kind, key.namespace, key.name)
        return version_of(known) if known is not None else -1


def _with_kind(kind: ApiKind, item: Manifest) -> Manifest:
    return {**item, "apiVersion": kind.api_version, "kind": kind.kind}  # items of a list do not say what they are
