"""Kubernetes Events for people, each said once."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
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
BURST = 100
"""Events of one object at once, and then one in so many seconds: what they say may be its pods' words, and others' events and the
operator's time must not suffer from them. (Kubernetes' own controllers keep to 25, and one in 300 s.)"""
REFILL = 60.0


class EventRecorder:
    """Posts events, without repetitions.

    An event that the last pass over the object said too is not news. Names are made of what is said, so that a restarted
    operator does not say it again; what happens a second time raises the count of the first event. An object that says very much
    is not heard with all of it.

    Args:
        client: where events are posted.
        identity: of this process, as events name it.
        unanswered: exceptions by which the client shows that an event could not be posted.
        clock: seconds that nobody can set.
    """

    def __init__(
        self,
        client: ObjectClient,
        identity: str,
        unanswered: Sequence[type[Exception]] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._identity, self._unanswered, self._clock = client, identity, tuple(unanswered), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # uid → events that it may say, and when that was so
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
            if event not in before and self._may_say(about):
                try:
                    await self._post(about, event)
                except self._unanswered as error:
                    log.warning("event %s could not be posted: %s", event.reason, error, extra={"object": key_of(about)})

    def _may_say(self, about: Manifest) -> bool:
        uid, now = about["metadata"]["uid"], self._clock()
        left, since = self._left.get(uid, (float(BURST), now))
        left = min(BURST, left + (now - since) / REFILL)
        if left < 1:
            return False
        left -= 1
        self._left[uid] = (left, now)
        self._left.move_to_end(uid)
        _trim(self._left)
        if left < 1:
            log.warning("it says so many events that from now on one in %.0f s is posted", REFILL, extra={"object": key_of(about)})
        return True

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
