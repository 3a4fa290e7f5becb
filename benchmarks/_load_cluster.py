"""A cluster for `operator_load.py`: the real control plane with an audit log, and kwok, which runs Jobs' pods to a real report."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from support import pretend  # noqa: E402
from support.controlplane import NODE, ControlPlane, assets, stop  # noqa: E402

Manifest = dict[str, Any]
STORAGE = "s3://nnunet"
OPERATOR = "nnunet-operator"
"""The operator's user agent, by which the audit log tells its writes from others'."""
TICKS = os.sysconf("SC_CLK_TCK")

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Request, verbs: [create, update, patch, delete], resources: [
    {group: "", resources: [configmaps, services, events]}, {group: batch, resources: [jobs]},
    {group: nnunet.dev, resources: ["*"]}, {group: networking.k8s.io, resources: [networkpolicies]},
    {group: events.k8s.io, resources: [events]}]}
- {level: None}
"""
"""All that the operator may write; what the Job controller and kwok write of statuses and pods is left out."""

RUNNING = """
phase: Running
startTime: {{ Now | Quote }}
conditions:
- {lastTransitionTime: {{ Now | Quote }}, status: "True", type: Initialized}
- {lastTransitionTime: {{ Now | Quote }}, status: "True", type: Ready}
- {lastTransitionTime: {{ Now | Quote }}, status: "True", type: ContainersReady}
containerStatuses:
- {name: trainer, image: example, restartCount: 0, ready: true, state: {running: {startedAt: {{ Now | Quote }}}}}
"""
SUCCEEDED = """
phase: Succeeded
containerStatuses:
- name: trainer
  image: example
  restartCount: 0
  ready: false
  state:
    terminated: {exitCode: 0, reason: Completed, startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}, message: 'REPORT'}
"""
NODE_IS_READY = """
conditions:
- {lastHeartbeatTime: {{ Now | Quote }}, lastTransitionTime: {{ Now | Quote }}, status: "True", type: Ready, reason: Ready}
"""
READY_CONDITION = '.status.conditions.[] | select( .type == "Ready" ) | .status'
DELETED, PHASE = ".metadata.deletionTimestamp", ".status.phase"


def _stage(name: str, kind: str, then: Manifest, *when: tuple[str, str, list[str] | None], **labels: str) -> Manifest:
    """One of kwok's: objects of a kind of which all of `when` (key, operator, values) holds become what `then` says."""
    expressions = [{"key": key, "operator": operator} | ({"values": values} if values else {}) for key, operator, values in when]
    selector = {"matchExpressions": expressions} | ({"matchLabels": labels} if labels else {})
    spec = {"resourceRef": {"apiGroup": "v1", "kind": kind}, "selector": selector, "next": then}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _pod_stage(name: str, phase: str, then: str) -> Manifest:
    """What becomes of a training's pod in a phase."""
    here = [(DELETED, "DoesNotExist", None), (PHASE, "In", [phase])]
    return _stage(name, "Pod", {"statusTemplate": then}, *here, **{"nnunet.dev/step": "train"})


def _stages() -> str:
    """A pod starts and ends at once, without a word of progress, with a report."""
    order = {"step": "train", "storage": {"uri": STORAGE}, "namespace": "NAMESPACE", "run": "RUN", "fold": "FOLD"}
    report = pretend.succeed(order, {}).message
    report = report.replace("NAMESPACE", "{{ .metadata.namespace }}")
    for word, label in (("RUN", "nnunet.dev/owner-name"), ("FOLD", "nnunet.dev/fold")):
        report = report.replace(word, f'{{{{ index .metadata.labels "{label}" }}}}')
    stages = [
        _stage("node-initialize", "Node", {"statusTemplate": NODE_IS_READY}, (READY_CONDITION, "NotIn", ["True"])),
        _pod_stage("pod-ready", "Pending", RUNNING),
        _pod_stage("pod-complete", "Running", SUCCEEDED.replace("REPORT", report)),
        _stage("pod-delete", "Pod", {"delete": True}, (DELETED, "Exists", None)),
    ]
    return "\n---\n".join(map(json.dumps, stages))


class Process:
    """A running process, and what it has cost until now."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def cpu(self) -> float:
        """CPU seconds, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, field: str = "VmHWM") -> float:
        """Resident memory in MB (10⁶ bytes): its peak (VmHWM), or now (VmRSS)."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024 / 1e6

    def forget_peak(self) -> None:
        """Let the peak begin anew from what is resident now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


class Cluster:
    """One control plane with kwok, in an empty folder. Use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.audit_log, policy = folder / "audit.log", folder / "policy.yaml"
        policy.write_text(POLICY)
        audit = (f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-maxsize=0")
        self.plane = ControlPlane(folder / "plane", apiserver=audit)
        self._kwok: subprocess.Popen[bytes] | None = None
        self._read = 0

    def __enter__(self) -> Cluster:
        self.plane.start()
        stages = self.folder / "stages.yaml"
        stages.write_text(_stages())
        command = [str(assets() / "kwok"), "--kubeconfig", str(self.plane.kubeconfig), "--manage-single-node", NODE]
        with (self.folder / "kwok.log").open("ab") as log:
            self._kwok = subprocess.Popen([*command, "--config", str(stages)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._kwok is not None:
            stop(self._kwok.pid)
            self._kwok.wait()
        self.plane.stop()

    def writes(self, agent: str = OPERATOR) -> list[Manifest]:
        """The audit log's entries of one client's writes since the last call."""
        with self.audit_log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        found = [json.loads(line) for line in whole.splitlines()]
        return [entry for entry in found if agent in ("", entry.get("userAgent"))]

    def client(self) -> Client:
        """A client with rights to everything."""
        return Client(self.plane.url, self.plane.token, self.plane.ca)


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
