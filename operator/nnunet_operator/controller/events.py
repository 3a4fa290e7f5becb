"""Kubernetes Events for people, each said once."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ..api.base import format_time
from ..manifests import names
from ..reconcile.outcome import Event
from ..reconcile.view import Key, Manifest
from .object_client import AlreadyExists, ObjectClient, key_of

log = logging.getLogger(__name__)

REMEMBERED = 20_000
MAX_MESSAGE = 1024
MAX_REASON = 128


class EventRecorder:
    """Posts events, without repetitions.

    An event that the last pass over the object said too is not news. Names are made of what is said, so that a restarted
    operator does not say it again; what happens a second time raises the count of the first event.

    Args:
        client: where events are posted.
        identity: of this process, as events name it.
        unanswered: exceptions by which the client shows that an event could not be posted.
    """

    def __init__(self, client: ObjectClient, identity: str, unanswered: Sequence[type[Exception]] = ()) -> None:
        self._client, self._identity, self._unanswered = client, identity, tuple(unanswered)
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
                except self._unanswered as error:
                    log.warning("event %s could not be posted: %s", event.reason, error, extra={"object": key_of(about)})

    async def _post(self, about: Manifest, event: Event) -> None:
        namespace, name = about["metadata"]["namespace"], event_name(about, event)
        count = self._counts[name] = self._counts.get(name, 0) + 1
        _trim(self._counts)
        at = format_time(datetime.now(UTC))
        if count > 1 and await self._client.merge(Key("Event", namespace, name), {"count": count, "lastTimestamp": at}):
            return  # else: the server forgets events after an hour
        with contextlib.suppress(AlreadyExists):  # said before a restart
            await self._client.create(event_manifest(about, event, at, count, self._identity))


def event_name(about: Manifest, event: Event) -> str:
    """The name of an Event: of the same object the same event has always the same."""
    meta = about["metadata"]
    said = hashlib.sha256(f"{meta['uid']} {event.type} {event.reason} {event.message}".encode()).hexdigest()
    return f"{meta['name']}.{said[:16]}"


def event_manifest(about: Manifest, event: Event, at: str, count: int, identity: str) -> Manifest:
    """An Event (v1) about an object."""
    meta = about["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(about, event), "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        },
        "type": event.type,
        "reason": event.reason[:MAX_REASON],
        "message": event.message if len(event.message) <= MAX_MESSAGE else event.message[: MAX_MESSAGE - 1] + "…",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": count,
        "source": {"component": names.MANAGER},
        "reportingComponent": names.MANAGER,
        "reportingInstance": identity,
    }


def _trim(cache: OrderedDict[str, Any]) -> None:
    while len(cache) > REMEMBERED:
        cache.popitem(last=False)
