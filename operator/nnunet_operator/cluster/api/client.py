"""The Kubernetes API with raw manifests: its verbs, for the kinds that we know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from ...reconcile.view import Manifest
from . import wire
from .connections import CONNECT
from .credentials import Renewal
from .errors import ApiError, NotLeading
from .kinds import FIELD_MANAGER, KINDS, OURS, ApiKind
from .requests import JSON, Requests

APPLY = "application/apply-patch+yaml"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE = 500
"""Objects in one answer to a LIST."""


class Api(Requests):
    """Objects of one API server: read, watched, written.

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
        super().__init__(configuration, renewal=renewal, user_agent=user_agent)
        self.may_write = may_write

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
        async for lines in self.lines(kind.path(namespace), query, limit, pause=pause):
            for line in lines:
                yield decode(line)

    async def log(self, namespace: str, pod: str, query: dict[str, str]) -> AsyncIterator[str]:
        """The lines of a pod's log, as it grows where the query says `follow`.

        Raises:
            ApiError: the server's answer is an error: 400 where the container has not started.
            OSError, asyncio.TimeoutError: as `request`.
        """
        path = KINDS["Pod"].path(namespace, pod, "log")
        async for lines in self.lines(path, query, aiohttp.ClientTimeout(total=None, sock_connect=CONNECT), text=True):
            for line in lines:
                yield line.decode(errors="replace").rstrip("\r")

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
