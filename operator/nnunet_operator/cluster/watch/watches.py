"""Watching our four kinds with kopf: each event goes into the cache and wakes whom it concerns. Jobs and pods: `list_watch`.

kopf's own machinery (handlers' progress, finalizers, peering, events) is switched off: it would write to every object.
What its watches do not tell (deletions during an outage) is found by `relist`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from ...reconcile.view import Manifest
from ..api.client import PAGE, Api
from ..api.kinds import OURS
from . import kopf_session
from .own_writes import OwnWrites

log = logging.getLogger(__name__)

Seen = Callable[[Manifest], None]


class _NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is stored in annotations, and no essence of an object is made, which would be copied at each event."""

    def build(self, **_: Any) -> Any:
        return None

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Nothing is stored in annotations or the status."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class EndlessBackoffs:
    """Delays between attempts of one request, for ever. kopf exits when they run out; that they have no length matters.

    Args:
        failed: called at each failed attempt.
    """

    def __init__(self, failed: Callable[[], None]) -> None:
        self._failed = failed

    def __iter__(self) -> Iterator[float]:
        delay = 0.25
        yield delay
        while True:
            self._failed()  # a second delay is drawn when the first attempt has failed
            delay = min(delay * 2, 8.0)
            yield delay


def operator_settings(failed: Callable[[], None]) -> kopf.OperatorSettings:
    """kopf reduced to its watches."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # no rights on namespaces and CRDs are needed
    settings.peering.standalone = True
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = EndlessBackoffs(failed)
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = 0.1  # a task an object; after a start there are as many as there are objects
    settings.process.ultimate_exiting_timeout = None
    return settings


def registry(api: Api, own_writes: OwnWrites, *, listed: Seen, changed: Seen, deleted: Seen) -> kopf.OperatorRegistry:
    """Handlers for our four kinds.

    Args:
        own_writes: what is not told.
        listed: called for each object when a watch begins, or begins anew.
        changed: called when an object was added or modified.
        deleted: called when an object was deleted.
    """
    handlers = kopf.OperatorRegistry()
    by_type = {"ADDED": changed, "MODIFIED": changed, "DELETED": deleted}

    shown: list[str | None] = []
    connected: list[tuple[kopf.ConnectionInfo, kopf.AiohttpSession]] = []

    @kopf.on.login(registry=handlers)
    async def login(**_kwargs: Any) -> kopf.AiohttpSession:
        """kopf's connection is that of our client, asked for again when the server refuses a token."""
        configuration = api.configuration
        if shown:
            await api.another_token(shown[-1])
        shown[:] = [configuration.api_key.get("BearerToken")]
        scheme, _, token = (await configuration.get_api_key_with_prefix("BearerToken") or "").partition(" ")
        info = kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            ca_data=configuration.ca_cert_data if not configuration.ssl_ca_cert else None,
            insecure=not configuration.verify_ssl,
            username=configuration.username or None,
            password=configuration.password or None,
            scheme=scheme or None,
            token=token or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )
        # The same for the same credentials: by that kopf sees that those which were refused are all there are.
        if not connected or connected[0][0] != info:
            connected[:] = [(info, kopf_session.session(info, own_writes))]
        return connected[0][1]

    async def on_event(type: str | None, event: Any, **_: Any) -> None:  # kopf's name for it
        by_type.get(type or "", listed)(event["object"])

    for kind in OURS.values():
        kopf.on.event(kind.api_version, kind.plural, registry=handlers, id=f"watch-{kind.plural}")(on_event)
    return handlers
