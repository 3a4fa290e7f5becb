"""Kubernetes Events for people, each said once."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from datetime import UTC, datetime

from ...reconcile.outcome import Event
from ...reconcile.view import Manifest
from ..api.client import CONNECTION_ERRORS, Api, ApiError
from ..api.kinds import FIELD_MANAGER, KINDS

log = logging.getLogger(__name__)

REMEMBERED = 20_000
MAX_MESSAGE = 1024


class Recorder:
    """Posts events, without repetitions.

    An event that the last reconciliation of the object said too is not news. Names are made of what is said, so that
    a restarted operator does not say it again; what happens a second time raises the count of the first event.
    """

    def __init__(self, api: Api, identity: str) -> None:
        self._api, self._identity = api, identity
        self._last: OrderedDict[str, frozenset[Event]] = OrderedDict()  # uid → what was said last
        self._counts: OrderedDict[str, int] = OrderedDict()  # event name → how often

    async def record(self, about: Manifest, events: list[Event]) -> None:
        """Post what is new. Events are for people: one that cannot be posted is logged, and is no failure."""
        uid = about["metadata"]["uid"]
        before = self._last.get(uid, frozenset())
        if events or before:
            self._last[uid] = frozenset(events)
            self._last.move_to_end(uid)
            _trim(self._last)
        for event in dict.fromkeys(events):
            if event not in before:
                try:
                    await self._post(about, event)
                except (ApiError, *CONNECTION_ERRORS) as error:
                    log.warning("event %s could not be posted: %s", event.reason, error, extra={"object": _name(about)})

    async def _post(self, about: Manifest, event: Event) -> None:
        meta, now = about["metadata"], datetime.now(UTC)
        said = hashlib.sha256(f"{meta['uid']} {event.type} {event.reason} {event.message}".encode()).hexdigest()
        name = f"{meta['name']}.{said[:16]}"
        count = self._counts[name] = self._counts.get(name, 0) + 1
        _trim(self._counts)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        if count > 1:
            try:
                await self._api.merge(KINDS["Event"], meta["namespace"], name, {"count": count, "lastTimestamp": stamp})
                return
            except ApiError as error:
                if error.code != 404:  # the server forgets events after an hour
                    raise
        manifest: Manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": about["apiVersion"], "kind": about["kind"], "name": meta["name"], "namespace": meta["namespace"],
                "uid": meta["uid"], "resourceVersion": meta.get("resourceVersion", ""),
            },
            "type": event.type,
            "reason": event.reason[:128],
            "message": event.message if len(event.message) <= MAX_MESSAGE else event.message[: MAX_MESSAGE - 1] + "…",
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": count,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._identity,
        }  # fmt: skip
        try:
            await self._api.create(manifest)
        except ApiError as error:
            if error.code != 409:  # said before a restart
                raise


def _name(about: Manifest) -> str:
    return f"{about['kind']} {about['metadata']['namespace']}/{about['metadata']['name']}"


def _trim(cache: OrderedDict[str, frozenset[Event]] | OrderedDict[str, int]) -> None:
    while len(cache) > REMEMBERED:
        cache.popitem(last=False)
