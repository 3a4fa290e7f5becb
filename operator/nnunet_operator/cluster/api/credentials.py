"""Tokens of a kubeconfig that end: those of exec plug-ins (EKS: 15 minutes), of auth providers, of token files.

The client asks `Renewal` before each request, and after one that was refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

log = logging.getLogger(__name__)

RENEWABLE = ("exec", "auth-provider", "tokenFile")
"""What a user of a kubeconfig gets a token from that another call may give anew."""
SHARE = 0.8
"""A token is renewed after this share of its time."""
LOOK_AGAIN = timedelta(seconds=60)
"""A provider or a file is asked so often; it knows itself whether its token still holds."""
AT_LEAST = timedelta(seconds=5)
"""Between two runs of a plug-in, whatever it says of its token's time: clocks may differ."""


class Renewal:
    """Keeps a configuration's token fresh.

    Args:
        loader: what `load_kube_config` returned.
        now: the time.
    """

    def __init__(self, loader: Any, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._loader, self._now = loader, now
        user = loader._user
        self._source = next((source for source in RENEWABLE if user and source in user), None)
        self._lock = asyncio.Lock()
        self._asked = now()
        self._due = self._next()

    async def refresh(self, configuration: Any) -> None:
        """The client's hook: before a request, see to a token that will hold."""
        if self._due is None or self._now() < self._due:
            return
        async with self._lock:
            if self._now() >= self._due:
                await self._renew(configuration)

    async def refused(self, configuration: Any, token: str | None) -> bool:
        """After a 401: whether there is another token now than the one that was refused."""
        if self._source is None:
            return False
        async with self._lock:
            if configuration.api_key.get("BearerToken") == token and self._now() >= self._asked + AT_LEAST:
                await self._renew(configuration)
            return bool(configuration.api_key.get("BearerToken") != token)

    async def _renew(self, configuration: Any) -> None:
        self._asked = self._now()
        if self._source == "exec":
            self._loader.__dict__.pop("exec_plugin_expiry", None)  # else it would not run before the last five minutes
        try:
            await self._loader._load_authentication()  # it logs what a plug-in says when it fails
        except Exception as error:
            log.warning("the kubeconfig's token could not be renewed: %s", error)
        configuration.api_key["BearerToken"] = self._loader.token
        self._due = self._next()

    def _next(self) -> datetime | None:
        """When to renew it next; None: when it is refused."""
        if self._source is None:
            return None
        if self._source != "exec":
            return self._asked + LOOK_AGAIN
        ends: datetime | None = getattr(self._loader, "exec_plugin_expiry", None)
        if ends is None:
            return None
        return self._asked + max(AT_LEAST, SHARE * (ends - self._asked))


def follow(configuration: Any, loader: Any) -> Renewal:
    """Have a client configuration ask for fresh tokens."""
    renewal = Renewal(loader)
    configuration.refresh_api_key_hook = renewal.refresh
    return renewal
