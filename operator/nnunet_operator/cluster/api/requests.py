"""Authenticated requests to one API server, and their answers: JSON, or lines as they come.

The official asyncio client brings what a kubeconfig holds (TLS, exec plug-ins, token rotation); requests and their JSON are ours.
Requests go through `connections`; streams, and all where there is a proxy, through aiohttp.
"""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from kubernetes.aio import client as kubernetes_client
from yarl import URL

from ...reconcile.view import Manifest
from ..monitoring import metrics
from . import errors, streams, wire
from .clock import ServerClock
from .connection import Answer
from .connections import CONNECT, Connections
from .credentials import Renewal
from .errors import ApiError
from .kinds import FIELD_MANAGER

JSON = "application/json"
AT_ONCE = 64
"""Connections to the API server."""


class Requests:
    """Requests to one API server, with the credentials and the proxy of a configuration.

    Args:
        configuration: of the official client.
        renewal: asked for another token when one was refused.
        user_agent: whose requests, and whose changes, these are.
    """

    def __init__(self, configuration: Any, *, renewal: Renewal | None = None, user_agent: str = FIELD_MANAGER) -> None:
        self.configuration = configuration
        self.user_agent = user_agent
        self.context_namespace: str | None = None  # of the kubeconfig's context
        self.renewal = renewal
        self.clock = ServerClock()
        self._client: Any = kubernetes_client.ApiClient(configuration)
        self._open: aiohttp.ClientSession | None = None
        self._connections: Connections | None = None
        proxy = configuration.proxy or environment_proxy(configuration.host)
        if proxy is None:
            context = self._client.rest_client.ssl_context
            self._connections = Connections(configuration.host, context, configuration.tls_server_name, at_once=AT_ONCE)
        self._fixed: dict[str, Any] = {"proxy": proxy}
        if configuration.proxy_headers:
            self._fixed["proxy_headers"] = configuration.proxy_headers
        if configuration.tls_server_name:
            self._fixed["server_hostname"] = configuration.tls_server_name

    async def close(self) -> None:
        """Close all connections."""
        if self._connections is not None:
            await self._connections.close()
        if self._open is not None:
            await self._open.close()
        await self._client.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            connector = aiohttp.TCPConnector(limit=AT_ONCE, ssl=self._client.rest_client.ssl_context)
            # The environment's proxy is looked up once: with trust_env a netrc file would be read at each request.
            jar = aiohttp.DummyCookieJar()  # else each request would look for cookies
            self._open = aiohttp.ClientSession(connector=connector, cookie_jar=jar, trust_env=False, read_bufsize=2**20)
        return self._open

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float = 30,
    ) -> Any:
        """One request; the answer's JSON.

        Raises:
            ApiError: the server's answer is an error.
            OSError, asyncio.TimeoutError: there is no answer (aiohttp's errors of connections are `OSError`s or `ClientError`s).
        """
        data = wire.encode(body) if body is not None else None
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": self.user_agent}
        target = _target(path, query)
        status, answer, token = await self._send(method, target, headers, data, timeout)
        if status == 401 and await self.another_token(token):
            status, answer, _ = await self._send(method, target, headers, data, timeout)
        if status >= 300:
            raise errors.of_answer(status, answer)
        return _object(answer, f"{method} {path}") if answer else None

    def _url(self, target: str) -> URL:
        return URL(self.configuration.host + target, encoded=True)

    async def another_token(self, refused: str | None) -> bool:
        """Whether there is another token now than one that was refused."""
        return self.renewal is not None and await self.renewal.refused(self.configuration, refused)

    async def _send(
        self, method: str, target: str, headers: dict[str, str], data: bytes | None, timeout: float
    ) -> tuple[int, bytes, str | None]:
        """Status and content of the answer, and the token that was shown."""
        token = await self._authenticate(method, target, headers)
        answer: Answer | None = None
        try:
            if self._connections is not None:
                answer = await self._connections.request(method, target, headers, data, timeout)
            else:
                answer = await self._send_through_proxy(method, target, headers, data, timeout)
        finally:
            metrics.count_request(method, target, answer.status if answer else None)
        self.clock.heard(answer.date)
        return answer.status, answer.content, token

    async def _send_through_proxy(
        self, method: str, target: str, headers: dict[str, str], data: bytes | None, timeout: float
    ) -> Answer:
        limit = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT)
        async with self._session.request(
            method, self._url(target), headers=headers, data=data, timeout=limit, allow_redirects=False, **self._fixed
        ) as answer:
            return Answer(answer.status, answer.headers.get("Date"), await answer.read())

    async def _authenticate(self, method: str, target: str, headers: dict[str, str]) -> str | None:
        """Add the credentials to a request's headers; the token that is shown."""
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], target, method, None)
        headers.update({name: value.strip() for name, value in headers.items()})  # the file of a token may end in a line break
        token: str | None = self.configuration.api_key.get("BearerToken")
        return token

    async def lines(
        self, path: str, query: dict[str, str], limit: aiohttp.ClientTimeout, *, text: bool = False, pause: float = 0.0
    ) -> AsyncIterator[list[bytes]]:
        """The lines of an answer (`streams.lines`): events, or (`text`) any."""
        target, headers = _target(path, query), {"Accept": "*/*" if text else JSON, "User-Agent": self.user_agent}
        code: int | None = None
        token = await self._authenticate("GET", target, headers)
        try:
            async with self._session.get(
                self._url(target), headers=headers, timeout=limit, allow_redirects=False, **self._fixed
            ) as answer:
                code = answer.status
                if answer.status == 401:
                    await self.another_token(token)  # for the next attempt
                if answer.status >= 300:
                    raise errors.of_answer(answer.status, await answer.read())
                async for lines in streams.lines(answer, text=text, pause=pause):
                    yield lines
        finally:
            metrics.count_request("GET", target, code)


def _target(path: str, query: dict[str, str] | None) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _object(data: bytes, what: str) -> Manifest:
    """The JSON object that every answer is; something between us and the API server may have answered in its place."""
    try:
        found = wire.decode(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ApiError(502, "BadGateway", f"{what} was answered, but not by the API server: {data[:100]!r}")
    return found


def environment_proxy(host: str) -> str | None:
    """The proxy that the environment names for a server (HTTPS_PROXY, NO_PROXY), or None."""
    parts = urlsplit(host)
    if not parts.hostname or urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)
