"""A plain client of an API server, and how what it does is waited for."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import aiohttp

Manifest = dict[str, Any]


class Client:
    """A plain client over connections that stay open. Use it as an asynchronous context manager."""

    def __init__(self, url: str, token: str, ca: str, agent: str = "operator-load") -> None:
        self._url, self._context = url, ssl.create_default_context(cafile=ca)
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": agent}

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=64)
        self.session = aiohttp.ClientSession(self._url, connector=connector, headers=self._headers, read_bufsize=2**20)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """One request; the answer's JSON, or None for 404 and 409."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        async with self.session.request(method, path, data=data, headers={"Content-Type": content}) as answer:
            text = await answer.read()
            if answer.status in (404, 409):
                return None
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:500].decode(errors='replace')}")
            return json.loads(text)

    async def watch(self, path: str, query: str = "", began: asyncio.Event | None = None) -> AsyncIterator[tuple[str, Manifest]]:
        """All that there is and each change, for ever: (type, object). `began` is set when nothing can be missed any more.

        A server that finds its client too slow ends the watch; the next one begins where it was.
        """
        version, timeout = "", aiohttp.ClientTimeout(total=None)
        while True:
            if not version:
                found = await self.request("GET", f"{path}?{query}")
                for item in found["items"]:
                    yield "ADDED", item
                version = found["metadata"]["resourceVersion"]
            if began is not None:
                began.set()
            url = f"{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}{query}"
            async with self.session.get(url, timeout=timeout) as answer:
                async for line in answer.content:
                    event = json.loads(line)
                    if event.get("type") not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]


async def in_parallel(work: Callable[[Any], Any], items: Iterable[Any], width: int = 16) -> None:
    """Do something with each item, `width` of them at a time."""
    limit = asyncio.Semaphore(width)

    async def one(item: Any) -> None:
        async with limit:
            await work(item)

    await asyncio.gather(*(one(item) for item in items))


async def until(condition: Callable[[], Any], what: str | Callable[[], str], timeout: float, every: float = 0.2) -> Any:
    """Wait until a condition (which may be a coroutine function) holds; its answer."""
    end = time.monotonic() + timeout
    while True:
        answer = condition()
        answer = await answer if asyncio.iscoroutine(answer) else answer
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"after {timeout:g} s still waiting for {what() if callable(what) else what}")
        await asyncio.sleep(every)
