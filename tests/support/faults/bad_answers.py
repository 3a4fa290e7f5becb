"""Pods whose `/progress` hangs, lies or redirects, beside honest ones."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from nnunet_operator.manifests import names
from nnunet_trainer.contract import pod as pod_contract

from ..apiclient import Manifest, wait_until
from ..controlplane import ControlPlane
from ..pretend import Ending, succeed
from .supervisor import Supervisor
from .trial import API_VERSION, Count, Trial

HONEST = {"step": "train", "phase": "training", "done": 37, "total": 250, "epoch": 37, "epochs": 250}
FORGED = 99
"""The epoch that liars name; it must not come into any status."""
LIES: dict[str, Any] = {
    "another step": {"step": "plan", "epoch": FORGED},
    "not finite": {"epoch": FORGED, "trainLoss": float("nan"), "etaSeconds": float("inf")},
    "too large": {"epoch": FORGED, "epochs": 10**30},
    "negative": {"epoch": FORGED, "done": -5},
    "wrong types": {"epoch": [FORGED], "phase": {"a": 1}},
    "too long": {"epoch": FORGED, "phase": "x" * 100_000},
}


class PodServers:
    """Pods' servers, each on a loopback address of its own.

    Attributes:
        asked: how often each kind was asked.
        followed: how often a redirect was followed.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.followed = 0
        self._loop, self._count = asyncio.new_event_loop(), 0
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="pods", daemon=True)

    def __enter__(self) -> PodServers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def add(self, kind: str) -> str:
        """Start a server; its address."""
        self._count += 1
        address = f"127.1.{100 + os.getpid() % 100}.{self._count}"
        asyncio.run_coroutine_threadsafe(self._start(kind, address), self._loop).result(10)
        return address

    async def _start(self, kind: str, address: str) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._answer(kind, reader, writer)
                await writer.drain()
                writer.close()
            except OSError:
                pass  # the operator has hung up

        self._servers.append(await asyncio.start_server(answer, address, pod_contract.PROGRESS_PORT))

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _answer(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        self.asked[kind] += 1
        if b"/elsewhere" in asked:
            self.followed += 1
        body = json.dumps(LIES.get(kind, HONEST)).encode()
        match kind:
            case "hangs":
                await asyncio.Event().wait()
            case "trickles":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while True:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.2)
            case "redirects":
                target = asked.split(b"Host: ")[1].split(b"\r\n")[0]
                writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://" + target + b"/elsewhere\r\nContent-Length: 0\r\n\r\n")
            case "hangs up":
                return
            case "no HTTP":
                writer.write(os.urandom(2000))
            case _:
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + body)


KINDS = ("hangs", "trickles", "redirects", "hangs up", "no HTTP", *LIES)


def bad_progress(plane: ControlPlane, folder: Path, *, hanging: int, honest: int, seed: int) -> Count:
    """Trainings of all these kinds at once; the honest must be heard nevertheless, and all must end well.

    Args:
        hanging: so many more that hang.
        honest: so many that answer well.
    """
    kinds = ["hangs"] * hanging + list(KINDS) + ["honest"] * honest
    count, released = Count("/progress that hangs, lies or redirects"), threading.Event()

    def script(order: Manifest, pod: Manifest) -> Ending | None:
        return succeed(order, pod) if order["step"] != "train" or released.is_set() else None

    with PodServers() as servers:
        addresses = [servers.add(kind) for kind in kinds]

        def ip(pod: Manifest) -> str:
            owner = pod["metadata"]["labels"][names.OWNER_NAME]
            return addresses[int(owner.removeprefix("run-"))] if owner.startswith("run-") else "127.1.0.1"

        with Trial(plane, folder, seed=seed, script=script, ip=ip) as trial, Supervisor(trial.operator()) as supervisor:
            trial.prepare()
            for number in range(len(kinds)):
                trial.run(number)

            def epochs(kind: str) -> list[int | None]:
                found = sorted(trial.list(API_VERSION, "TrainingRun"), key=lambda one: str(one["metadata"]["name"]))
                folds = [((one.get("status") or {}).get("folds") or [{}])[0] for one in found]
                return [fold.get("epoch") for fold, is_of in zip(folds, kinds, strict=True) if is_of == kind]

            try:
                wait_until(lambda: set(epochs("honest")) == {HONEST["epoch"]}, timeout=120)
            except TimeoutError:
                count.lost.append(f"honest pods were not heard: {epochs('honest')}")
            # Each bad one is asked again: the first bad answer must not have ended the asking.
            wait_until(lambda: all(servers.asked[kind] > 1 for kind in KINDS), timeout=120, what=lambda: f"{servers.asked}")
            released.set()
            trial.settle(count)
            count.tried = sum(servers.asked[kind] for kind in KINDS)
            count.doubled += ["a redirect was followed"] * servers.followed
            count.lost += [f"the lie of a pod: {kind}" for kind in KINDS if FORGED in epochs(kind)]
            if errors := supervisor.operator.metric("nnunet_operator_errors_total"):
                count.lost.append(f"{errors:g} errors of the operator")
        return count
