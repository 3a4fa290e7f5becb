"""What `operator_load.py` does: runs at once, runs at a rate, many finished runs; each measured from outside the operator."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from _load_cluster import STORAGE, Cluster, Manifest, Process, in_parallel, until
from support.controlplane import free_port, stop
from support.pretend import PretendKubelet, succeed

API = "/apis/nnunet.dev/v1alpha1"
JOBS = "/apis/batch/v1"
MANAGED = "app.kubernetes.io/managed-by%3Dnnunet-operator"
MERGE = "application/merge-patch+json"


class Load:
    """Puts runs on a cluster and measures the operator. Use it as an asynchronous context manager."""

    def __init__(self, cluster: Cluster, folder: Path, wrap: list[str]) -> None:
        self._cluster, self._folder, self._wrap = cluster, folder, wrap
        self._log = (folder / "operator.log").open("ab")

    async def __aenter__(self) -> Load:
        self._client = await self._cluster.client().__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.__aexit__()
        self._log.close()

    # -- the parts --

    async def burst_and_bare(self, runs: int) -> dict[str, Any]:
        """Runs at once: CPU, memory and writes of the operator, then the CPU of the bare client for as many."""
        namespace = self._cluster.plane.create_namespace("burst")
        async with self._operator(namespace) as process:
            cost, wall, uids, writes = await self._burst(process, namespace, runs)
            memory = process.memory()
        kinds = Counter(_what(entry) for entry in writes)
        print(f"{runs} runs in {wall:.0f} s: operator {cost:.2f} CPU s, {memory:.0f} MB, {len(writes) / runs:.2f} writes a run")
        print("   " + ", ".join(f"{count / runs:.2f} {what}" for what, count in sorted(kinds.items())), flush=True)
        bare = await self._bare(namespace, runs, uids, writes)
        print(f"{runs} runs, bare client {bare:.2f} CPU s: the operator costs {cost / bare:.2f} times as much", flush=True)
        return {
            "cpu_s_per_1000_runs": round(cost / runs * 1000, 2),
            "memory_mb": round(memory),
            "writes_per_run": round(len(writes) / runs, 2),
            "bare_client_cpu_s_per_1000_runs": round(bare / runs * 1000, 2),
            "ratio_to_bare_client": round(cost / bare, 2),
            "seconds": round(wall),
        }

    async def at_rate(self, runs: int, rate: float) -> dict[str, Any]:
        """Runs at a rate: the time from a run's creation to its Job's."""
        namespace = self._cluster.plane.create_namespace("rate")
        async with self._operator(namespace) as process:
            await self._prepared(namespace)
            self._cluster.writes("")
            before = process.cpu
            names = [f"rate-{number:05}" for number in range(runs)]
            async with self._finishing(namespace, names):
                begun = time.monotonic()
                for number, name in enumerate(names):
                    await asyncio.sleep(begun + number / rate - time.monotonic())
                    await self._create(namespace, name)
            cost = process.cpu - before
        latencies = sorted(_latencies(self._cluster.writes("")).values())
        assert len(latencies) == runs, f"{len(latencies)} Jobs of {runs} runs"
        p50, p99 = (1000 * statistics.quantiles(latencies, n=100)[q - 1] for q in (50, 99))
        cpu = cost / runs * 1000
        print(f"{runs} runs at {rate:g}/s: CR→Job p50 {p50:.0f} ms, p99 {p99:.0f} ms, {cpu:.1f} CPU s per 1,000", flush=True)
        return {"latency_p50_ms": round(p50), "latency_p99_ms": round(p99), "cpu_s_per_1000_runs_at_rate": round(cpu, 2)}

    async def cpu_per_1000(self, runs: int) -> float:
        """CPU seconds per 1,000 runs of so many at once."""
        namespace = self._cluster.plane.create_namespace("linear")
        async with self._operator(namespace) as process:
            cost, wall, _, _ = await self._burst(process, namespace, runs)
        print(f"{runs} runs in {wall:.0f} s: {cost / runs * 1000:.2f} CPU s per 1,000", flush=True)
        await self._delete(namespace)
        return round(cost / runs * 1000, 2)

    async def restart_and_idle(self, finished: int, seconds: float) -> dict[str, Any]:
        """A start over many finished runs, and what the operator costs when there is nothing to do."""
        namespace = self._cluster.plane.create_namespace("finished")
        await self._seed(namespace, finished, ["0"])
        self._cluster.writes()
        begun = time.monotonic()
        async with self._operator(namespace) as process:
            restart, started = time.monotonic() - begun, process.cpu
            await asyncio.sleep(60)  # what a start leaves to do is no idling, and is told on its own
            first = (process.cpu - started) / 60 * 100
            before, begun = process.cpu, time.monotonic()
            await asyncio.sleep(seconds)
            idle = (process.cpu - before) / (time.monotonic() - begun) * 100
            memory = process.memory()
        writes = len(self._cluster.writes())
        print(f"{finished} finished runs: ready in {restart:.1f} s ({started:.1f} CPU s), {writes} writes, {memory:.0f} MB")
        print(f"   the first minute {first:.2f} % of a core, idle {idle:.2f} %", flush=True)
        await self._delete(namespace)
        return {
            "restart_s": round(restart, 1),
            "restart_writes": writes,
            "first_minute_percent_of_a_core": round(first, 2),
            "idle_percent_of_a_core": round(idle, 2),
            "finished_memory_mb": round(memory),
        }

    async def five_fold(self, runs: int) -> int:
        """Peak memory in MB with so many finished runs of five folds."""
        namespace = self._cluster.plane.create_namespace("five-fold")
        await self._seed(namespace, runs, ["0", "1", "2", "3", "4"])
        async with self._operator(namespace) as process:
            await asyncio.sleep(30)
            memory = process.memory()
        print(f"{runs} finished runs of five folds: {memory:.0f} MB", flush=True)
        await self._delete(namespace)
        return round(memory)

    # -- the operator --

    @asynccontextmanager
    async def _operator(self, namespace: str) -> AsyncIterator[Process]:
        """The operator on one namespace, from when it is ready."""
        address = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "nnunet_operator.cli", "run", "--kubeconfig", str(self._cluster.plane.kubeconfig)]
        command += ["--namespace", namespace, "--http", address, "--log-format", "json"]
        settings = {"NNUNET_STORAGE_URI": STORAGE, "NNUNET_STORAGE_SECRET": "s3", "NNUNET_TRAINER_IMAGE": "example/trainer:1"}
        running = subprocess.Popen([*self._wrap, *command], env={**os.environ, **settings}, stdout=self._log, stderr=self._log)

        async def ready() -> bool:
            if running.poll() is not None:
                raise RuntimeError(f"the operator ended with {running.returncode}: see {self._log.name}")
            try:
                async with self._client.session.get(f"http://{address}/readyz") as answer:
                    return answer.status == 200
            except OSError:
                return False

        try:
            await until(ready, "the operator to be ready", 180, every=0.1)
            yield Process(_worker(running.pid))
        finally:
            stop(_worker(running.pid))
            running.wait()

    async def _burst(self, process: Process, namespace: str, runs: int) -> tuple[float, float, dict[str, str], list[Manifest]]:
        """CPU seconds, wall seconds, uids by name, the operator's writes."""
        await self._prepared(namespace)
        self._cluster.writes()
        process.forget_peak()
        names = [f"run-{number:05}" for number in range(runs)]
        before, begun = process.cpu, time.monotonic()
        async with self._finishing(namespace, names) as uids:
            await in_parallel(lambda name: self._create(namespace, name), names)
        return process.cpu - before, time.monotonic() - begun, uids, self._cluster.writes()

    async def _bare(self, source: str, runs: int, uids: dict[str, str], writes: list[Manifest]) -> float:
        """CPU seconds of the bare client for as many runs."""
        namespace = self._cluster.plane.create_namespace("bare")
        sample = f"run-{runs // 2:05}"
        recipe = {
            **_recipe(sample, [entry for entry in writes if entry["objectRef"]["name"].startswith(sample)]),
            **{"run": sample, "uid": uids[sample], "from": source, "namespace": namespace},
            "server": [self._cluster.plane.url, self._cluster.plane.token, self._cluster.plane.ca],
        }
        file = self._folder / "recipe.json"
        file.write_text(json.dumps(recipe))
        script = Path(__file__).with_name("_load_bare_client.py")
        bare = subprocess.Popen([sys.executable, str(script), str(file)], stdout=subprocess.PIPE, stderr=self._log)
        try:
            assert bare.stdout is not None
            line = await asyncio.to_thread(bare.stdout.readline)
            assert line == b"watching\n", line
            process = Process(bare.pid)
            before = process.cpu
            names = [f"run-{number:05}" for number in range(runs)]
            async with self._finishing(namespace, names):
                await in_parallel(lambda name: self._create(namespace, name), names)
            made = len(self._cluster.writes("bare-client"))
            assert made == runs * sum(map(len, recipe["writes"])), f"{made} writes of the bare client"
            return process.cpu - before
        finally:
            stop(bare.pid)
            bare.wait()

    # -- objects --

    async def _prepared(self, namespace: str) -> None:
        """A Dataset and its Plans, ready."""
        with PretendKubelet(self._cluster.plane.admin, namespace, succeed):
            dataset = {"name": "Dataset001_Brain", "source": {"uri": "s3://nnunet/raw/Dataset001_Brain"}}
            await self._post("Dataset", "datasets", namespace, "brain", dataset)
            spec = {"datasetRef": {"name": "brain"}, "preprocessing": {"configurations": ["2d"]}}
            await self._post("Plans", "plans", namespace, "brain", spec)

            async def ready() -> bool:
                plans = await self._client.request("GET", f"{API}/namespaces/{namespace}/plans/brain")
                return _is_ready(plans) and await self._tidy(namespace)

            await until(ready, "the Plans to be ready", 120)

    async def _create(self, namespace: str, name: str, folds: tuple[str, ...] = ("0",)) -> Manifest:
        spec = {"plansRef": {"name": "brain"}, "configuration": "2d", "folds": list(folds)}
        return await self._post("TrainingRun", "trainingruns", namespace, name, spec)

    async def _post(self, kind: str, plural: str, namespace: str, name: str, spec: Manifest) -> Manifest:
        meta = {"name": name, "namespace": namespace}
        manifest = {"apiVersion": "nnunet.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}
        created: Manifest = await self._client.request("POST", f"{API}/namespaces/{namespace}/{plural}", manifest)
        return created

    @asynccontextmanager
    async def _finishing(self, namespace: str, names: list[str]) -> AsyncIterator[dict[str, str]]:
        """On leaving: all these runs are Ready and their Jobs are gone. Yields their uids by name, as they come."""
        uids: dict[str, str] = {}
        ready: set[str] = set()

        async def watch() -> None:
            async for _, run in self._client.watch(f"{API}/namespaces/{namespace}/trainingruns", began=began):
                if name := run["metadata"].get("name"):
                    uids[name] = run["metadata"]["uid"]
                    if _is_ready(run):
                        ready.add(name)

        began = asyncio.Event()
        watching = asyncio.create_task(watch())
        try:
            await began.wait()
            yield uids

            def done() -> bool:
                if watching.done():
                    watching.result()
                return len(ready) == len(names)

            patience = 120 + len(names)
            await until(done, lambda: f"{len(names) - len(ready)} runs to be Ready", patience)
            await until(lambda: self._tidy(namespace), "the Jobs and work orders to be deleted", patience)
        finally:
            watching.cancel()

    async def _tidy(self, namespace: str) -> bool:
        """Whether no Job and no work order is left."""
        for kind in (f"{JOBS}/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/configmaps"):
            if (await self._client.request("GET", f"{kind}?limit=1&labelSelector={MANAGED}"))["items"]:
                return False
        return True

    async def _seed(self, namespace: str, runs: int, folds: list[str]) -> None:
        """Runs that have finished, by one that the operator has finished: its status, with their own names."""
        async with self._operator(namespace):
            await self._prepared(namespace)
            async with self._finishing(namespace, ["sample"]):
                await self._create(namespace, "sample", tuple(folds))
        path = f"{API}/namespaces/{namespace}/trainingruns"
        status = json.dumps({"status": (await self._client.request("GET", f"{path}/sample"))["status"]})

        async def put(number: int) -> None:
            name = f"done-{number:05}"
            await self._create(namespace, name, tuple(folds))
            body = status.replace("sample", name).encode()
            await self._client.request("PATCH", f"{path}/{name}/status", body, MERGE)

        await in_parallel(put, range(runs - 1))

    async def _delete(self, namespace: str) -> None:
        """Have nothing of a part stay in the API server."""
        await self._client.request("DELETE", f"/api/v1/namespaces/{namespace}")

        async def gone() -> bool:
            return await self._client.request("GET", f"/api/v1/namespaces/{namespace}") is None

        await until(gone, f"namespace {namespace} to go", 900, every=2)


def _worker(pid: int) -> int:
    """The child of a profiler; itself where it has none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def _is_ready(manifest: Manifest) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _what(entry: Manifest) -> str:
    """A write as people name it: `create jobs`, `patch trainingruns/status`."""
    at = entry["objectRef"]
    code = entry.get("responseStatus", {}).get("code", 0)
    failed = f" ({code})" if code >= 400 else ""
    return f"{entry['verb']} {at['resource']}{'/' + at['subresource'] if at.get('subresource') else ''}{failed}"


def _latencies(writes: list[Manifest]) -> dict[str, float]:
    """Seconds from when a TrainingRun was stored to when its Job was, by the run's name."""
    runs: dict[str, float] = {}
    jobs: dict[str, float] = {}
    for entry in writes:
        if entry["verb"] != "create" or entry["responseStatus"]["code"] != 201:
            continue
        at = datetime.fromisoformat(entry["stageTimestamp"]).timestamp()
        if entry["objectRef"]["resource"] == "trainingruns":
            runs[entry["objectRef"]["name"]] = at
        elif entry["objectRef"]["resource"] == "jobs":
            jobs[entry["requestObject"]["metadata"]["labels"]["nnunet.dev/owner-name"]] = at
    return {name: jobs[name] - at for name, at in runs.items() if name in jobs}


def _recipe(sample: str, writes: list[Manifest]) -> dict[str, Any]:
    """One run's writes by moment, as the bare client replays them."""
    moments: list[list[tuple[str, str, str, str]]] = [[], [], []]
    moment, job_uid = 0, ""
    for entry in writes:
        body = entry.get("requestObject") or {}
        if entry["objectRef"].get("subresource") == "status":
            text = json.dumps(body)
            moment = 2 if '"Succeeded"' in text else max(moment, 1) if '"Running"' in text else moment
            body.get("metadata", {}).pop("resourceVersion", None)
        method = {"create": "POST", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}[entry["verb"]]
        content = "application/json"
        if method == "PATCH":
            applied = "fieldManager=" in entry["requestURI"]
            content = "application/apply-patch+yaml" if applied else MERGE
        if method == "DELETE" and entry["objectRef"]["resource"] == "jobs":
            job_uid = body["preconditions"]["uid"]
        moments[moment].append((method, entry["requestURI"], json.dumps(body), content))
    return {"writes": moments, "job_uid": job_uid}
