"""List and watch of one kind: for Jobs and pods, which are many and change often.

Each event is parsed and handed on, nothing more. What no watch tells (deletions while none was open) is found by `relist`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

from ...reconcile.view import Manifest
from ..api.client import Api
from ..api.errors import CONNECTION_ERRORS, ApiError, text_of
from ..api.kinds import ApiKind
from .backoff import Backoff

log = logging.getLogger(__name__)

SECONDS = (300, 600)
"""How long one watch lasts: at random, so that not all of them end at once."""
PAUSE = 0.2
"""Seconds for which nothing is read of a watch after some of it was: what a Job and its pods tell comes in bursts."""
GONE = 410
"""The server does not know our version any more: what has changed since has to be listed."""

Seen = Callable[[Manifest], None]


class ListWatch:
    """Tells of every object of a kind in a namespace, and of its changes, for ever.

    Args:
        namespace: None: all.
        version: from which on it tells; all until then is known.
        changed: called when an object was listed, added or modified.
        deleted: called when an object was deleted.
        listed: called when all was listed anew because changes may have been missed, deletions among them.
        failed: called when there was no answer, or an error.
    """

    def __init__(
        self,
        api: Api,
        kind: ApiKind,
        namespace: str | None,
        version: str,
        *,
        changed: Seen,
        deleted: Seen,
        listed: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        self._api, self._kind, self._namespace = api, kind, namespace
        self._by_type = {"ADDED": changed, "MODIFIED": changed, "DELETED": deleted}
        self._changed, self._listed, self._failed = changed, listed, failed
        self._version: str | None = version  # up to which all is known; None: that is not known any more

    async def _list(self) -> None:
        """Tell of all that there is."""
        version = None
        async for page in self._api.pages(self._kind, self._namespace):
            version = version or page["metadata"]["resourceVersion"]
            for item in page["items"]:
                self._changed(with_kind(self._kind, item))
        self._version = version

    async def run(self) -> None:
        """Tell of changes for ever, beginning with what has come since `version`."""
        backoff = Backoff()
        while True:
            try:
                if self._version is None:
                    await self._list()
                    self._listed()
                await self._watch(self._version or "", backoff)
            except ApiError as error:
                if _is_unknown_version(error):
                    self._version = None
                    if not backoff.begun:
                        backoff.next()  # once at once; a server that always says so is not asked in a circle
                        continue
                else:
                    log.warning("%s could not be watched: %s", self._kind.plural, error)
                self._failed()
            except CONNECTION_ERRORS as error:
                log.info("the watch of %s was interrupted: %s", self._kind.plural, text_of(error))
                self._failed()
            else:
                if not backoff.begun:
                    continue  # it has told something, and ended in its time
            await backoff.wait()

    async def _watch(self, version: str, backoff: Backoff) -> None:
        seconds = random.randint(*SECONDS)
        async for event in self._api.watch(self._kind, self._namespace, version, seconds, pause=PAUSE):
            kind, found = event["type"], event["object"]
            if kind == "ERROR":
                raise _error(found)
            backoff.reset()
            self._version = found["metadata"]["resourceVersion"]
            if tell := self._by_type.get(kind):  # else a bookmark
                tell(found)


def with_kind(kind: ApiKind, item: Manifest) -> Manifest:
    """An item of a list, which does not say what it is."""
    return {**item, "apiVersion": kind.api_version, "kind": kind.kind}


def _is_unknown_version(error: ApiError) -> bool:
    """The version is too old, or newer than all (of a cluster whose etcd was restored): only a list helps."""
    return error.code == GONE or "too large resource version" in error.message.lower()


def _error(status: dict[str, Any]) -> ApiError:
    return ApiError(int(status.get("code") or 500), str(status.get("reason", "")), str(status.get("message", "")))
