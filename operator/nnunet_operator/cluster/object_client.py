"""The API server as carrying out an Outcome needs it. What is written goes into the cache at once: the next View shows it."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..controller.object_client import AlreadyExists, Outdated, Rejected, key_of
from ..manifests import ownership
from ..reconcile.view import Key, Manifest
from .api.client import Api
from .api.errors import CONNECTION_ERRORS, ApiError
from .api.kinds import KINDS, NAMESPACE, WATCHED
from .cache.object_cache import ObjectCache
from .cache.versions import version_of
from .monitoring import metrics
from .watch.own_writes import OwnWrites

log = logging.getLogger(__name__)

REAPPLY = 600.0
"""Seconds after which a child that is not watched is applied again, in case that someone changed or deleted it."""
REMEMBERED = 20_000
UNANSWERED = (ApiError, Rejected, *CONNECTION_ERRORS)
"""How an event can fail to be posted."""
REJECTIONS = (400, 403, 422)
"""What quotas, admission, schemas and missing rights answer."""


class CachedApi:
    """Reads from the cache, writes to the API server and the cache (`controller.object_client.ObjectClient`).

    Beside the errors of `ObjectClient`, methods raise `ApiError` and `CONNECTION_ERRORS`: to be tried again.

    Args:
        suspect: called when an object is older than the cache has it: has the cluster gone back in time?
    """

    def __init__(self, api: Api, cache: ObjectCache, suspect: Callable[[], None] = lambda: None) -> None:
        self._api, self._cache, self._suspect = api, cache, suspect
        self.own_writes = OwnWrites()
        self._applied: OrderedDict[Key, tuple[bytes, float]] = OrderedDict()  # digest of what was applied, and when
        self._mended: OrderedDict[str, bytes] = OrderedDict()  # uid → digest of a wanted status and what the server made of it

    def known(self, key: Key) -> Manifest | None:
        """As the cache has it."""
        return self._cache.get(*key)

    def learn(self, manifest: Manifest) -> None:
        """Into the cache, where the kind is watched."""
        if manifest["kind"] in WATCHED:
            self._cache.put(manifest)

    async def get(self, key: Key) -> Manifest | None:
        """GET."""
        try:
            return await self._api.get(KINDS[key.kind], key.namespace, key.name)
        except ApiError as error:
            raise _named(error) from error

    async def read_again(self, key: Key) -> None:
        """GET into the cache, whatever that has; what is gone is forgotten."""
        found, known = await self.get(key), self.known(key)
        if found is None:
            if known is not None:
                self._cache.remember_deleted(known)
        elif not self._cache.put(found) and self._cache.version(key) != version_of(found):
            self._suspect()

    async def apply(self, manifest: Manifest, *, force: bool) -> bool:
        """Server-side apply, unless the same was applied before and is there still."""
        key = key_of(manifest)
        digest, now = _digest(manifest), time.monotonic()
        before, at = self._applied.get(key, (b"", float("-inf")))
        if before == digest and now - at < REAPPLY and (key.kind not in WATCHED or self.known(key) is not None):
            return False
        try:
            self.learn(await self._api.apply(manifest, force=force))
        except ApiError as error:
            raise _named(error) from error
        _remember(self._applied, key, (digest, now))
        return True

    async def create(self, manifest: Manifest) -> Manifest:
        """POST."""
        try:
            answer = await self._api.create(manifest)
        except ApiError as error:
            if error.code == 409:
                raise AlreadyExists(error.message) from error
            raise _named(error) from error
        self.learn(answer)
        return answer

    async def merge(self, key: Key, change: Manifest) -> bool:
        """Merge patch."""
        try:
            await self._api.merge(KINDS[key.kind], key.namespace, key.name, change)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True

    async def write_finalizers(self, about: Manifest, finalizers: list[str]) -> None:
        """One merge patch of the metadata."""
        meta = about["metadata"]
        patch = {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": finalizers}}
        try:
            answer = await self._api.merge(KINDS[about["kind"]], meta["namespace"], meta["name"], patch)
        except ApiError as error:
            if error.code == 404:
                return  # gone; the watch tells
            if error.code == 409:
                raise Outdated(str(error)) from error
            raise
        self._cache.put(answer)

    async def is_terminating(self, namespace: str) -> bool:
        """GET of the namespace; one that is gone is."""
        found = await self._api.get(NAMESPACE, None, namespace)
        return found is None or bool(found["metadata"].get("deletionTimestamp"))

    async def delete(self, key: Key, uid: str) -> bool:
        """DELETE, its dependants in the background."""
        self._applied.pop(key, None)
        before = self._known_as(key, uid)
        try:
            answer = await self._api.delete(KINDS[key.kind], key.namespace, key.name, uid)
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or another object of that name
                raise
            answer, before = {"kind": "Status"}, None
        known = self._known_as(key, uid)
        if answer.get("kind") != "Status":  # it waits for a finalizer
            if known is not None:
                self._cache.put(answer)
        elif deleted := known or before:  # the watch may have told before the answer came
            if known is not None:
                self._cache.remember_deleted(known, by_us=True)
            owner = ownership.controlling_resource(deleted)
            about = Key(owner[0], key.namespace, owner[1]) if owner else key
            log.info("deleted %s %s", key.kind, key.name, extra={"object": about})
        return known is not None

    def _known_as(self, key: Key, uid: str) -> Manifest | None:
        known = self.known(key)
        return known if known is not None and known["metadata"].get("uid") == uid else None

    async def write_status(self, about: Manifest, status: Manifest) -> bool:
        """One merge patch of the status subresource."""
        meta, stored = about["metadata"], about.get("status") or {}
        if status == stored:
            return True
        # What the server drops or fills in must not make us write it again and again.
        if meta["uid"] in self._mended and self._mended[meta["uid"]] == _digest(status, stored):
            return False
        # Merged rather than applied: a field that an older CRD does not know is dropped, where an apply would fail as a whole.
        # The resourceVersion keeps a decision about an older version, or about a namesake that is gone, from being written.
        patch = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": merge_patch(stored, status)}
        try:
            answer = await self._api.merge(KINDS[about["kind"]], meta["namespace"], meta["name"], patch, sub="status")
        except ApiError as error:
            if error.code == 404:
                return False  # deleted; the watch tells
            if error.code == 409:
                raise Outdated(str(error)) from error
            raise
        metrics.status_writes.labels(about["kind"]).inc()
        if not (as_wanted := (made := answer.get("status") or {}) == status):
            _remember(self._mended, meta["uid"], _digest(status, made))
        self._cache.put(answer)
        self.own_writes.add(answer)
        return as_wanted


def merge_patch(stored: Manifest, wanted: Manifest) -> Manifest:
    """The merge patch (RFC 7386) that makes `stored` into `wanted`, neither of which holds a null."""
    patch: Manifest = {key: None for key in stored if key not in wanted}
    for key, value in wanted.items():
        old = stored.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if below := merge_patch(old, value):
                patch[key] = below
        elif key not in stored or value != old:
            patch[key] = value
    return patch


def _digest(*values: Any) -> bytes:
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).digest()


def _named(error: ApiError) -> Exception:
    return Rejected(error.reason, error.message) if error.code in REJECTIONS else error


def _remember(cache: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > REMEMBERED:
        cache.popitem(last=False)
