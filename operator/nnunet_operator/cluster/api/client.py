"""The Kubernetes API with raw manifests.

The official asyncio client brings what a kubeconfig holds (TLS, exec plug-ins, token rotation); requests and their JSON are ours.
Requests go through `connections`; streams, and all where there is a proxy, through aiohttp.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from kubernetes.aio import client as kubernetes_client
from nnunet_trainer.contract.faults import Temporary
from yarl import URL

from ...reconcile.view import Manifest
from ..monitoring import metrics
from . import streams, wire
from .clock import ServerClock
from .connections import CONNECT, Answer, Connections
from .credentials import Renewal
from .kinds import FIELD_MANAGER, KINDS, OURS, ApiKind

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE = 500
"""Objects in one answer to a LIST."""
AT_ONCE = 64
"""Connections to the API server."""


class ApiError(Exception):
    """An answer of the API server that is no success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message = code, reason, message


class NotLeading(Temporary):
    """A write was about to happen after the lease was lost."""

    def __init__(self) -> None:
        super().__init__("NotLeading", "This replica does not lead any more; it writes nothing.")


class Api:
    """One connection to one API server.

    Args:
        configuration: of the official client.
        may_write: asked before each write; when it says no, the write fails with `NotLeading`.
        renewal: asked for another token when one was refused.
        user_agent: whose requests, and whose changes, these are.
    """

    def __init__(
        self,
        configuration: Any,
        *,
        may_write: Callable[[], bool] = lambda: True,
        renewal: Renewal | None = None,
        user_agent: str = FIELD_MANAGER,
    ) -> None:
        self.configuration = configuration
        self.user_agent = user_agent
        self.context_namespace: str | None = None  # of the kubeconfig's context
        self.renewal = renewal
        self.may_write = may_write
        self.clock = ServerClock()
        self._client: Any = kubernetes_client.ApiClient(configuration)
        self._open: aiohttp.ClientSession | None = None
        self._connections: Connections | None = None
        proxy = configuration.proxy or _proxy(configuration.host)
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
            raise _error(status, answer)
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

    # -- reading --

    async def get(self, kind: ApiKind, namespace: str | None, name: str) -> Manifest | None:
        """An object, or None when there is none."""
        try:
            found: Manifest = await self.request("GET", kind.path(namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        return found

    async def pages(self, kind: ApiKind, namespace: str | None, *, metadata_only: bool = False) -> AsyncIterator[Manifest]:
        """LIST in pages, by the kind's own label selector. Items of a metadata-only list have no spec and no status."""
        query = {"limit": str(PAGE)} | ({"labelSelector": kind.selector} if kind.selector else {})
        accept = METADATA_ONLY if metadata_only else JSON
        while True:
            page: Manifest = await self.request("GET", kind.path(namespace), query=query, accept=accept)
            page["items"] = page.get("items") or []  # null in an empty metadata-only list
            yield page
            if not (go_on := page["metadata"].get("continue")):
                return
            query["continue"] = go_on

    async def watch(
        self, kind: ApiKind, namespace: str | None, version: str, seconds: int, *, pause: float = 0.0
    ) -> AsyncIterator[Manifest]:
        """WATCH by the kind's own label selector: events (`type`, `object`), bookmarks too, until the server ends the watch.

        Args:
            version: the resourceVersion after which it begins.
            seconds: after which the server is asked to end it.
            pause: seconds for which nothing is read after some events were.

        Raises:
            ApiError: the server's answer is an error: 410 where it does not know the version any more.
            OSError, asyncio.TimeoutError: as `request`.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        query |= {"labelSelector": kind.selector} if kind.selector else {}
        decode = wire.decode if kind.kind in OURS else wire.decode_child
        limit = aiohttp.ClientTimeout(total=seconds + 60, sock_connect=CONNECT)
        async for lines in self._stream(kind.path(namespace), query, limit, pause=pause):
            for line in lines:
                yield decode(line)

    async def log(self, namespace: str, pod: str, query: dict[str, str]) -> AsyncIterator[str]:
        """The lines of a pod's log, as it grows where the query says `follow`.

        Raises:
            ApiError: the server's answer is an error: 400 where the container has not started.
            OSError, asyncio.TimeoutError: as `request`.
        """
        path = KINDS["Pod"].path(namespace, pod, "log")
        async for lines in self._stream(path, query, aiohttp.ClientTimeout(total=None, sock_connect=CONNECT), text=True):
            for line in lines:
                yield line.decode(errors="replace").rstrip("\r")

    async def _stream(
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
                    raise _error(answer.status, await answer.read())
                async for lines in streams.lines(answer, text=text, pause=pause):
                    yield lines
        finally:
            metrics.count_request("GET", target, code)

    # -- writing --

    async def create(self, manifest: Manifest) -> Manifest:
        """POST."""
        return await self._write("POST", self._kind(manifest).path(manifest["metadata"]["namespace"]), manifest)

    async def apply(self, manifest: Manifest, *, force: bool) -> Manifest:
        """Server-side apply under the operator's one field owner."""
        kind, meta = self._kind(manifest), manifest["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._write("PATCH", kind.path(meta["namespace"], meta["name"]), manifest, query, APPLY)

    async def merge(self, kind: ApiKind, namespace: str, name: str, change: Manifest, *, sub: str = "") -> Manifest:
        """Merge patch of an object or its subresource."""
        return await self._write("PATCH", kind.path(namespace, name, sub), change, None, "application/merge-patch+json")

    async def replace(self, manifest: Manifest) -> Manifest:
        """PUT; the manifest's resourceVersion guards against a racing write."""
        meta = manifest["metadata"]
        return await self._write("PUT", self._kind(manifest).path(meta["namespace"], meta["name"]), manifest, fenced=False)

    async def delete(self, kind: ApiKind, namespace: str, name: str, uid: str) -> Manifest:
        """Delete the object, its dependants in the background; with a uid this very object and no namesake."""
        body: Manifest = {"propagationPolicy": "Background"} | ({"preconditions": {"uid": uid}} if uid else {})
        return await self._write("DELETE", kind.path(namespace, name), body)

    async def create_unfenced(self, manifest: Manifest) -> Manifest:
        """POST that needs no lease: the lease itself, and questions (access reviews)."""
        meta = manifest.get("metadata", {})
        return await self._write("POST", self._kind(manifest).path(meta.get("namespace")), manifest, fenced=False)

    async def _write(
        self, method: str, path: str, body: Any, query: dict[str, str] | None = None, content: str = JSON, *, fenced: bool = True
    ) -> Manifest:
        if fenced and not self.may_write():
            raise NotLeading
        answer: Manifest = await self.request(method, path, query=query, body=body, content_type=content)
        return answer

    @staticmethod
    def _kind(manifest: Manifest) -> ApiKind:
        return KINDS[manifest["kind"]]


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


def _proxy(host: str) -> str | None:
    """The proxy that the environment names for a server (HTTPS_PROXY, NO_PROXY), or None."""
    parts = urlsplit(host)
    if not parts.hostname or urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _error(code: int, data: bytes) -> ApiError:
    text = data.decode(errors="replace")
    try:
        status = json.loads(text)
        return ApiError(code, str(status.get("reason", "")), str(status.get("message", text)))
    except (ValueError, AttributeError):
        return ApiError(code, "", text[:500])


CONNECTION_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
"""There was no answer, or not a whole one."""
