"""kopf's connection to the API server, which reads what it answers no deeper than can be borne (`cluster.api.json_depth`).

Of a watch it does not read what our own writes made (`own_writes`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import kopf

from ..api import json_depth, streams
from ..monitoring import metrics
from .own_writes import OwnWrites

PAUSE = 0.02
"""Seconds for which nothing is read of a watch after some of it was: a new object may be seen so much later."""


class _WholeLines:
    """The body of a watch, one or several whole lines at a time.

    Args:
        answer: of the server.
        own: what is left out.
    """

    def __init__(self, answer: aiohttp.ClientResponse, own: OwnWrites) -> None:
        self._answer, self._content, self._own = answer, answer.content, own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """As of a StreamReader, but that lines stay whole, and are others' and no deeper than can be borne."""
        incomplete: list[bytes] = []
        async for chunk in self._content.iter_chunked(size):
            lines, end, begun = chunk.rpartition(b"\n")
            if end:
                if others := self._own.without(b"".join((*incomplete, lines, end))):
                    yield json_depth.shallow(others)
                incomplete = []
                await streams.pause_reading(self._answer, PAUSE)
            incomplete.append(begun)
        if any(incomplete):
            yield json_depth.shallow(b"".join(incomplete))


class _Response(aiohttp.ClientResponse):
    """An answer, read no deeper than can be borne."""

    own_writes: OwnWrites

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        await super().start(connection)
        metrics.count_request(self.method, self.url.raw_path_qs, self.status)
        if "watch" in self.url.query:
            self.content = _WholeLines(self, self.own_writes)  # type: ignore[assignment]
        return self

    async def json(self, **_: Any) -> Any:
        return json_depth.loads(await self.read())


def session(info: kopf.ConnectionInfo, own_writes: OwnWrites) -> kopf.AiohttpSession:
    """A connection by these credentials. kopf closes it."""
    answers = type("_Answer", (_Response,), {"own_writes": own_writes})
    connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
    headers = info.as_http_headers()
    opened = aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False, response_class=answers)
    return kopf.AiohttpSession(server=info.server, aiohttp_session=opened)
