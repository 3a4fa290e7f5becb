"""A kubeconfig whose tokens end: an exec plug-in's are fetched anew in time, and when one is refused."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from nnunet_operator.cluster.api import credentials, kubeconfig
from nnunet_operator.cluster.api.client import Api
from nnunet_operator.cluster.api.errors import ApiError

PLUGIN = """#!{python}
import json, pathlib
folder = pathlib.Path({folder!r})
count = int((folder / "count").read_text()) + 1
(folder / "count").write_text(str(count))
status = {{"token": f"token-{{count}}"}}
if (ends := (folder / "ends").read_text()):
    status["expirationTimestamp"] = ends
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""


class Cloud:
    """An API server that takes the newest token of a plug-in alone, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime.now(UTC)
        self.seen: list[str] = []
        self.valid: str | None = None  # None: whatever was issued last
        plugin = folder / "plugin.py"
        plugin.write_text(PLUGIN.format(python=sys.executable, folder=str(folder)))
        plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
        (folder / "count").write_text("0")
        self.tokens_hold(timedelta(minutes=15))

    def tokens_hold(self, time: timedelta | None) -> None:
        """From now on, tokens say that they end then."""
        (self.folder / "ends").write_text((self.now + time).strftime("%Y-%m-%dT%H:%M:%SZ") if time else "")

    @property
    def issued(self) -> int:
        return int((self.folder / "count").read_text())

    async def answer(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.seen.append(token)
        if token != (self.valid or f"token-{self.issued}"):
            return web.json_response({"kind": "Status", "reason": "Unauthorized", "message": "Unauthorized"}, status=401)
        return web.json_response({"kind": "Namespace"})


def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: Callable[[Cloud, Api], Awaitable[None]]) -> Cloud:
    """Connect by a kubeconfig with the plug-in, and do something."""
    cloud = Cloud(tmp_path)
    monkeypatch.setattr(credentials, "Renewal", lambda loader: RENEWAL(loader, lambda: cloud.now))

    async def run() -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", cloud.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        plugin = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(tmp_path / "plugin.py"),
            "interactiveMode": "Never",
        }
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
            "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "me", "user": {"exec": plugin}}],
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        api = await kubeconfig.connect(tmp_path / "config")
        try:
            await steps(cloud, api)
        finally:
            await api.close()
            await runner.cleanup()

    asyncio.run(run())
    return cloud


RENEWAL = credentials.Renewal
PATH = "/api/v1/namespaces/default"


def test_a_token_is_renewed_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(cloud: Cloud, api: Api) -> None:
        for minutes in (0, 5, 8, 20, 25):
            cloud.now = start + timedelta(minutes=minutes)
            cloud.tokens_hold(timedelta(minutes=15))
            await asyncio.gather(*(api.request("GET", PATH) for _ in range(3)))

    start = datetime.now(UTC)
    cloud = talk(tmp_path, monkeypatch, steps)
    assert cloud.seen == ["token-1"] * 9 + ["token-2"] * 6, "once in time, for all requests that wait for it"


def test_a_refused_token_is_fetched_anew_and_the_request_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(cloud: Cloud, api: Api) -> None:
        cloud.now += timedelta(minutes=1)
        cloud.valid = "token-2"
        assert await api.request("GET", PATH) == {"kind": "Namespace"}

    assert talk(tmp_path, monkeypatch, steps).seen == ["token-1", "token-2"]


def test_a_token_of_unknown_time_is_kept_until_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(cloud: Cloud, api: Api) -> None:
        cloud.tokens_hold(None)
        cloud.now += timedelta(minutes=14)  # the first one's time is said
        await api.request("GET", PATH)
        cloud.now += timedelta(days=3)
        await api.request("GET", PATH)
        cloud.valid = "token-3"
        await api.request("GET", PATH)

    assert talk(tmp_path, monkeypatch, steps).seen == ["token-2", "token-2", "token-2", "token-3"]


def test_whoever_is_refused_for_good_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(cloud: Cloud, api: Api) -> None:
        cloud.now += timedelta(minutes=1)
        cloud.valid = "another"
        for _ in range(3):
            with pytest.raises(ApiError, match="401"):
                await api.request("GET", PATH)

    cloud = talk(tmp_path, monkeypatch, steps)
    assert cloud.issued == 2, "a plug-in is not run for every request"
