"""kopf's connection to the API server, which reads what it answers no deeper than can be borne (`cluster.api.json_depth`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import kopf

from ..api import json_depth
from ..monitoring import metrics


class _WholeLines:
    """The body of a watch, one or several whole lines at a time.

    Args:
        content: the body as it comes.
    """

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """As of a StreamReader, but that lines stay whole and are no deeper than can be borne."""
        rest: list[bytes] = []
        async for chunk in self._content.iter_chunked(size):
            lines, end, begun = chunk.rpartition(b"\n")
            if end:
                yield json_depth.shallow(b"".join((*rest, lines, end)))
                rest = []
            rest.append(begun)
        if any(rest):
            yield json_depth.shallow(b"".join(rest))


class _Response(aiohttp.ClientResponse):
    """An answer, read no deeper than can be borne."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        await super().start(connection)
        metrics.count_request(self.method, str(self.url), self.status)
        if "watch" in self.url.query:
            self.content = _WholeLines(self.content)  # type: ignore[assignment]
        return self

    async def json(self, **_: Any) -> Any:
        return json_depth.loads(await self.read())


def session(info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """A connection by these credentials. kopf closes it."""
    connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
    headers = info.as_http_headers()
    opened = aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False, response_class=_Response)
    return kopf.AiohttpSession(server=info.server, aiohttp_session=opened)
