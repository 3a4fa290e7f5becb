"""A proxy between the operator and the API server that refuses, fails, and loses answers."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path

import aiohttp
from aiohttp import web

from ..controlplane import ControlPlane

REFUSALS = {"429": "TooManyRequests", "500": "InternalError", "503": "ServiceUnavailable"}
"""Nothing is done."""
AFTERWARDS = ("500 afterwards", "no JSON", "no answer")
"""It is done, and whoever asked is not told: what etcd's timeouts and a restart look like."""
CUT = "watch cut"
FAULTS = (*REFUSALS, *AFTERWARDS, CUT)
PASSED_ON = ("Authorization", "Accept", "Content-Type", "User-Agent")


class ApiProxy:
    """Passes requests on to a control plane's API server, and does harm to some of them. Use it as a context manager.

    Args:
        share: of the requests, and of the pieces of a watch, that are harmed.
        seed: of the choice.
        faults: which.
    """

    def __init__(self, plane: ControlPlane, *, share: float, seed: int, faults: Sequence[str] = FAULTS) -> None:
        self._plane, self._faults = plane, faults
        self.share = share
        self.ahead = 0.0
        """Seconds by which the Date of all answers is ahead of the machine's clock."""
        self.done: Counter[str] = Counter()
        """How often each fault was caused."""
        self._random = random.Random(seed)
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), name="proxy", daemon=True)
        self.url = ""

    def kubeconfig(self, path: Path, original: Path) -> Path:
        """A kubeconfig like another, through the proxy."""
        config = json.loads(original.read_text())
        config["clusters"][0]["cluster"] = {"server": self.url}
        path.write_text(json.dumps(config))
        return path

    def __enter__(self) -> ApiProxy:
        self._thread.start()
        if not self._ready.wait(60):
            raise TimeoutError("The proxy did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/{path:.*}", self._answer)
        app.on_response_prepare.append(self._date)
        context = ssl.create_default_context(cafile=self._plane.ca)
        # One connection a request: one that the server had closed would be a fault that nobody asked for.
        connector = aiohttp.TCPConnector(ssl=context, limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self._session:
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            assert runner.addresses
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(time.time() + self.ahead, usegmt=True)

    def _fault(self, *possible: str) -> str | None:
        found = [fault for fault in possible if fault in self._faults]
        if not found or self._random.random() >= self.share:
            return None
        fault = self._random.choice(found)
        self.done[fault] += 1
        return fault

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._pass_on(request)
        except (OSError, aiohttp.ClientError):  # one of the two has hung up, and so do we
            _hang_up(request)
            return web.Response()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        watch = "watch" in request.query and request.query["watch"] not in ("false", "0")
        writes = request.method not in ("GET", "HEAD")
        fault = self._fault(*REFUSALS, *(AFTERWARDS if writes else () if watch else AFTERWARDS[1:]))
        if fault in REFUSALS:
            return _refusal(fault)
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        headers["Accept-Encoding"] = "identity"
        url, body = self._plane.url + request.raw_path, await request.read()
        async with self._session.request(request.method, url, headers=headers, data=body or None, allow_redirects=False) as answer:
            if watch and answer.status == 200:
                return await self._stream(request, answer)
            content = await answer.read()
        if fault == "500 afterwards":
            return _refusal("500")
        if fault == "no JSON":
            return web.Response(status=200, body=b"\x1f\x8b<html>", headers={"Content-Type": "text/html"})
        if fault == "no answer":
            _hang_up(request)
        return web.Response(status=answer.status, body=content, headers={"Content-Type": answer.headers.get("Content-Type", "")})

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": answer.headers.get("Content-Type", "")})
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            if self._fault(CUT):
                await response.write(chunk[: len(chunk) // 2])  # in the middle of an event
                _hang_up(request)
                break
            await response.write(chunk)
        return response


def _refusal(fault: str) -> web.Response:
    code, reason = int(fault), REFUSALS[fault]
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": "a test's fault"}
    return web.json_response(body, status=code, headers={"Retry-After": "1"} if code == 429 else None)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
