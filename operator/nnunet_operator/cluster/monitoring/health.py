"""Probes and metrics over HTTP: /healthz, /readyz, /metrics."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import generate_latest

from . import metrics


class Health:
    """A small HTTP server.

    Args:
        unready: what keeps the operator from being ready, for people; empty when it is ready.
    """

    def __init__(self, address: tuple[str, int], unready: Callable[[], str]) -> None:
        self._address, self._unready = address, unready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve from now on.

        Raises:
            OSError: the address is taken.
        """
        app = web.Application()
        app.add_routes([web.get("/healthz", self._live), web.get("/readyz", self._ready), web.get("/metrics", self._metrics)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")  # the event loop turns

    async def _ready(self, _: web.Request) -> web.Response:
        problem = self._unready()
        return web.Response(text=f"{problem}\n" if problem else "ok\n", status=503 if problem else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), content_type="text/plain", charset="utf-8")
