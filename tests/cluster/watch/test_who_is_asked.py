"""The poller asks the pods that are children of our objects, and keeps what each said apart."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import aiohttp
import pytest
from nnunet_operator.cluster.cache.object_cache import ObjectCache
from nnunet_operator.cluster.watch import progress_poller
from nnunet_operator.cluster.watch.progress_poller import ProgressPoller
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.view import Key
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.progress import Progress
from support.apiclient import Manifest
from support.ports import free_port

from ..conftest import dataset


def family(namespace: str, address: str) -> list[Manifest]:
    """A Dataset, its Job and a running pod of that; names are the same in each namespace."""
    owner = dataset(namespace)
    owner["metadata"] |= {"uid": f"{namespace}-dataset", "resourceVersion": "1"}
    labels = {
        names.MANAGED_BY: names.MANAGER,
        names.OWNER_KIND: "Dataset",
        names.OWNER_NAME: "brain",
        names.OWNER_UID: f"{namespace}-dataset",
        names.STEP: "dataset",
    }
    found = [owner]
    for kind, version in (("Job", "batch/v1"), ("Pod", "v1")):
        above = found[-1]
        reference = {
            "apiVersion": above["apiVersion"],
            "kind": above["kind"],
            "name": above["metadata"]["name"],
            "uid": above["metadata"]["uid"],
            "controller": True,
        }
        meta = {
            "name": f"brain-{kind.lower()}",
            "namespace": namespace,
            "uid": f"{namespace}-{kind.lower()}",
            "resourceVersion": "2",
            "labels": labels,
            "ownerReferences": [reference],
        }
        found.append({"apiVersion": version, "kind": kind, "metadata": meta, "spec": {}})
    found[-1]["status"] = {"phase": "Running", "podIP": address}
    return found


def strip_controller(manifest: Manifest) -> None:
    del manifest["metadata"]["ownerReferences"][0]["controller"]


def strip_owner(manifest: Manifest) -> None:
    del manifest["metadata"]["ownerReferences"]


def change_uid(manifest: Manifest) -> None:
    manifest["metadata"]["ownerReferences"][0]["uid"] = "another"


def move(manifest: Manifest) -> None:
    manifest["metadata"]["namespace"] = "elsewhere"


FORGERIES = [(kind, change) for kind in ("Job", "Pod") for change in (strip_controller, strip_owner, change_uid, move)]


@pytest.mark.parametrize(("kind", "change"), FORGERIES)
async def test_only_children_are_asked_and_names_do_not_mix(kind: str, change: Callable[[Manifest], None]) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = str(self.server.server_address[0])
            asked.append(address)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(codec.dumps(Progress(step="dataset", done=int(address[-1]))).encode())

        def log_message(self, *_: object) -> None:
            pass

    port, cache, woken = free_port(), ObjectCache(), set[Key]()
    addresses = {"one": "127.1.79.1", "two": "127.1.79.2", "forged": "127.1.79.3"}
    for namespace, address in addresses.items():
        for manifest in family(namespace, address):
            if namespace == "forged" and manifest["kind"] == kind:
                change(manifest)
            cache.put(manifest)
    with contextlib.ExitStack() as servers:
        for address in addresses.values():
            server = servers.enter_context(ThreadingHTTPServer((address, port), Handler))
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            servers.callback(server.shutdown)
        poller = ProgressPoller(cache, (0.1, 1.0), woken.update, port=port)
        task = asyncio.create_task(poller.run())
        try:
            async with asyncio.timeout(60):
                while len(poller.heard) < 2:
                    await asyncio.sleep(0.02)
        finally:
            task.cancel()
    assert {uid: heard.progress.done for uid, heard in poller.heard.items()} == {"one-pod": 1, "two-pod": 2}
    assert set(asked) == {"127.1.79.1", "127.1.79.2"}
    assert woken == {Key("Dataset", "one", "brain"), Key("Dataset", "two", "brain")}


async def test_pods_that_hang_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_poller, "TIMEOUT", aiohttp.ClientTimeout(total=0.3))
    monkeypatch.setattr(progress_poller, "PER_SECOND", 1e6)
    port, cache, asked = free_port(), ObjectCache(), Counter[str]()
    hanging = {f"h{i}": f"127.1.80.{i + 1}" for i in range(3 * progress_poller.AT_ONCE)}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("sockname")[0]
        asked[address] += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if address in honest.values():
                body = codec.dumps(Progress(step="dataset", done=1)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
            else:
                await reader.read()  # until the operator hangs up
        writer.close()

    def add(namespace: str, address: str) -> None:
        for manifest in family(namespace, address):
            cache.put(manifest)

    honest = {f"honest{i}": f"127.1.81.{i + 1}" for i in range(5)}
    async with contextlib.AsyncExitStack() as servers:
        for address in (*hanging.values(), *honest.values()):
            await servers.enter_async_context(await asyncio.start_server(answer, address, port))
        for namespace, address in hanging.items():
            add(namespace, address)
        poller = ProgressPoller(cache, (0.1, 1.0), lambda keys: None, port=port)
        task = asyncio.create_task(poller.run())
        try:
            async with asyncio.timeout(60):
                while len(asked) < len(hanging) or min(asked.values()) < 2:
                    await asyncio.sleep(0.02)
                for namespace, address in honest.items():
                    before = asked.total()
                    add(namespace, address)
                    while f"{namespace}-pod" not in poller.heard:
                        await asyncio.sleep(0.02)
                    if asked.total() - before < len(hanging):
                        break
                else:  # a machine that is busy with something else may be late, but not each time
                    pytest.fail("they wait for the others' rounds")
        finally:
            task.cancel()


async def test_what_pods_said_goes_with_them_and_pods_that_do_not_change_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    moment, cache = [100.0], ObjectCache()
    monkeypatch.setattr(progress_poller, "time", SimpleNamespace(monotonic=lambda: moment[0]))
    dataset_, job, pod = family("one", "127.1.79.9")
    for manifest in (dataset_, pod):
        cache.put(manifest)
    poller = ProgressPoller(cache, (10.0, 60.0), lambda keys: None)

    async def fetch(session: object, address: str) -> Progress:
        return Progress(step="dataset", done=1)

    monkeypatch.setattr(poller, "_fetch", fetch)
    assert poller._due() == []
    cache.put(job)
    assert [one["metadata"]["uid"] for one in poller._due()] == ["one-pod"], "its Job was seen after it"
    await poller._ask(None, pod)  # type: ignore[arg-type]
    assert set(poller.heard) == {"one-pod"}
    with monkeypatch.context() as quiet:
        quiet.setattr(cache, "get", lambda *_: pytest.fail("nothing is due, and nothing has changed"))
        assert poller._due() == []
    moment[0] += 11
    assert len(poller._due()) == 1
    namesake = {**pod, "metadata": {**pod["metadata"], "uid": "another", "resourceVersion": "9"}}
    cache.remember_deleted(pod)
    cache.put(namesake)
    assert [one["metadata"]["uid"] for one in poller._due()] == ["another"]
    assert not poller.heard
    await poller._ask(None, pod)  # type: ignore[arg-type]
    assert not poller.heard, "an answer that comes after its pod has gone"
    cache.put({**namesake, "metadata": {**namesake["metadata"], "resourceVersion": "10"}, "status": {"phase": "Succeeded"}})
    moment[0] += 100
    assert poller._due() == []
