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

from ...reconcile.view import Key
from ..api.client import Api
from ..api.errors import CONNECTION_ERRORS, ApiError, text_of
from ..api.kinds import WATCHED, ApiKind
from ..cache.known import Known
from ..cache.object_cache import ObjectCache
from ..cache.versions import WentBack, is_newer, number, version_of
from ..monitoring import metrics
from .list_watch import GONE, with_kind

log = logging.getLogger(__name__)

SETTLE = 1.0
"""Seconds without a further sign of a reconnection before the comparison: the watch delivers its own list first."""
LONGEST_SETTLE = 60.0
"""Seconds after which it is made all the same."""
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
        self._asked_at = float("-inf")
        self._compared_at = float("-inf")
        self._failing_since: float | None = None
        self.behind: frozenset[str] = frozenset()
        self.versions: dict[tuple[str, str | None], str] = {}
        """Of the last list of each kind in each namespace (None: all): where a watch can begin."""

    @property
    def fresh(self) -> bool:
        """Whether the cache was lately found to be as the cluster is."""
        now = time.monotonic()
        away = self._failing_since is not None and now - self._failing_since > PATIENCE
        return not self.behind and not away and now - self._compared_at < 2 * self._every + 60

    def soon(self) -> None:
        """Compare soon: a watch was interrupted, or has begun anew."""
        self._asked_at = time.monotonic()
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
                # 410: a list of many pages took so long that the server has forgotten where it began.
                if isinstance(error, ApiError) and error.code not in (GONE, 429) and error.code < 500:
                    raise
                log.warning("the cluster could not be listed: %s", text_of(error))
                await asyncio.sleep(min(10, attempt))

    async def _fill(self) -> None:
        for kind in WATCHED.values():
            for scope in self._scopes:
                version = ""
                async for page in self._api.pages(kind, scope):
                    version = version or version_of(page)
                    for item in page["items"]:
                        self._cache.put(with_kind(kind, item))
                self.versions[kind.kind, scope] = version
        self._compared_at = time.monotonic()

    async def run(self) -> None:
        """Compare for ever.

        Raises:
            WentBack: the cluster is older than it was.
        """
        while True:
            try:
                async with asyncio.timeout(self._every * random.uniform(0.9, 1.1)):
                    await self._asked.wait()
                await self._settle()
            except TimeoutError:
                pass
            self._asked.clear()
            try:
                await self.compare()
            except (ApiError, *CONNECTION_ERRORS) as error:
                now = time.monotonic()
                self._failing_since = self._failing_since or now
                log.warning("the cluster could not be listed: %s", text_of(error))
                await asyncio.sleep(min(10, 1 + (now - self._failing_since) / 4))
                self._asked.set()
            else:
                self._failing_since = None

    async def _settle(self) -> None:
        latest = time.monotonic() + LONGEST_SETTLE
        while (wait := min(self._asked_at + SETTLE, latest) - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    async def compare(self) -> None:
        """One comparison of all kinds.

        Raises:
            WentBack: the cluster is older than it was.
        """
        behind: dict[Key, tuple[str, str | None]] = {}
        for kind in WATCHED.values():
            for scope in self._scopes:
                behind |= await self._compare(kind, scope)
        if behind:
            await asyncio.sleep(GRACE)
            await self._catch_up([key for key, late in behind.items() if self._still_behind(key, *late)])
        else:
            self._set_behind(frozenset())
        self._compared_at = time.monotonic()

    async def _compare(self, kind: ApiKind, scope: str | None) -> dict[Key, tuple[str, str | None]]:
        """Drop ghosts; of what the cluster has newer than the cache, both versions."""
        known = {key: one for key, one in self._cache.known(kind.kind).items() if scope in (None, key.namespace)}
        found: dict[Key, tuple[str, str]] = {}  # uid and version
        listed_at = ""
        async for page in self._api.pages(kind, scope, metadata_only=True):
            if not listed_at:
                listed_at = version_of(page)
                self._check_that_time_goes_on(kind, scope, listed_at, known)
            for item in page["items"]:
                meta = item["metadata"]
                found[Key(kind.kind, meta["namespace"], meta["name"])] = (meta["uid"], version_of(item))
        for key, one in known.items():
            if found.get(key, ("", ""))[0] != one.uid:  # what was known before a list and is not in it is gone
                self._drop(key, one)
        seen = {key: known[key].version if key in known else None for key in found}
        return {key: (version, seen[key]) for key, (_, version) in found.items() if self._is_late(version, seen[key], key)}

    def _check_that_time_goes_on(self, kind: ApiKind, scope: str | None, listed_at: str, known: dict[Key, Known]) -> None:
        """A list is as new as all that was known before it: else the cluster's store is another."""
        before = [self.versions.get((kind.kind, scope), ""), *(one.version for one in known.values())]
        now, newest = number(listed_at), max((at for version in before if (at := number(version)) is not None), default=0)
        if now is not None and now < newest:
            raise WentBack(
                f"the cluster went back in time: {kind.plural} are at version {now}, and {newest} was seen. Its etcd was restored"
            )
        self.versions[kind.kind, scope] = listed_at

    def _drop(self, key: Key, known: Known) -> None:
        manifest = self._cache.get(*key)
        if manifest is None or manifest["metadata"].get("uid") != known.uid:
            return
        concerned = self._cache.affected_by(manifest)
        if self._cache.remember_deleted(manifest):
            log.info("deleted while no watch was open", extra={"object": key})
            metrics.ghosts.labels(key.kind).inc()
            self._wake(concerned)

    def _is_late(self, listed: str, seen: str | None, key: Key) -> bool:
        return self._still_behind(key, listed, seen) and (seen is None or is_newer(listed, seen))

    def _still_behind(self, key: Key, listed: str, seen: str | None) -> bool:
        """Whether the cache has not come as far as a list was. What cannot be compared has come on when it has changed."""
        now = self._cache.version(key)
        if now is None or now == seen:
            return now != listed
        return number(now) is not None and is_newer(listed, now)

    async def _catch_up(self, late: list[Key]) -> None:
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
