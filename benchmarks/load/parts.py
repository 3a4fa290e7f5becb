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
from pathlib import Path
from typing import Any

from support.controlplane import free_port, stop

from . import audit_entries
from .audit_entries import MERGE
from .client import Manifest, in_parallel, until
from .cluster import STORAGE, Cluster
from .process import Process
from .runs import API, Runs


class Load:
    """Puts runs on a cluster and measures the operator. Use it as an asynchronous context manager."""

    def __init__(self, cluster: Cluster, folder: Path, wrap: list[str]) -> None:
        self._cluster, self._folder, self._wrap = cluster, folder, wrap
        self._log = (folder / "operator.log").open("ab")

    async def __aenter__(self) -> Load:
        self._client = await self._cluster.client().__aenter__()
        self._runs = Runs(self._cluster.plane, self._client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.__aexit__()
        self._log.close()

    async def burst_and_bare(self, runs: int) -> dict[str, Any]:
        """Runs at once: CPU, memory and writes of the operator, then the CPU of the bare client for as many."""
        namespace = self._cluster.plane.create_namespace("burst")
        async with self._operator(namespace) as process:
            cost, wall, uids, writes = await self._burst(process, namespace, runs)
            memory = process.memory()
        kinds = Counter(audit_entries.named(entry) for entry in writes)
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
            await self._runs.prepare(namespace)
            self._cluster.writes("")
            before = process.cpu
            names = [f"rate-{number:05}" for number in range(runs)]
            async with self._runs.finishing(namespace, names):
                begun = time.monotonic()
                for number, name in enumerate(names):
                    await asyncio.sleep(begun + number / rate - time.monotonic())
                    await self._runs.create(namespace, name)
            cost = process.cpu - before
        latencies = sorted(audit_entries.latencies(self._cluster.writes("")).values())
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
        await self._runs.delete(namespace)
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
        await self._runs.delete(namespace)
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
        await self._runs.delete(namespace)
        return round(memory)

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
        await self._runs.prepare(namespace)
        self._cluster.writes()
        process.forget_peak()
        names = [f"run-{number:05}" for number in range(runs)]
        before, begun = process.cpu, time.monotonic()
        async with self._runs.finishing(namespace, names) as uids:
            await in_parallel(lambda name: self._runs.create(namespace, name), names)
        return process.cpu - before, time.monotonic() - begun, uids, self._cluster.writes()

    async def _bare(self, source: str, runs: int, uids: dict[str, str], writes: list[Manifest]) -> float:
        """CPU seconds of the bare client for as many runs."""
        namespace = self._cluster.plane.create_namespace("bare")
        sample = f"run-{runs // 2:05}"
        recipe = {
            **audit_entries.recipe(sample, [entry for entry in writes if entry["objectRef"]["name"].startswith(sample)]),
            **{"run": sample, "uid": uids[sample], "from": source, "namespace": namespace},
            "server": [self._cluster.plane.url, self._cluster.plane.token, self._cluster.plane.ca],
        }
        file = self._folder / "recipe.json"
        file.write_text(json.dumps(recipe))
        command = [sys.executable, "-m", "load.bare_client", str(file.absolute())]
        bare = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=self._log)
        try:
            assert bare.stdout is not None
            line = await asyncio.to_thread(bare.stdout.readline)
            assert line == b"watching\n", line
            process = Process(bare.pid)
            before = process.cpu
            names = [f"run-{number:05}" for number in range(runs)]
            async with self._runs.finishing(namespace, names):
                await in_parallel(lambda name: self._runs.create(namespace, name), names)
            made = len(self._cluster.writes("bare-client"))
            assert made == runs * sum(map(len, recipe["writes"])), f"{made} writes of the bare client"
            return process.cpu - before
        finally:
            stop(bare.pid)
            bare.wait()

    async def _seed(self, namespace: str, runs: int, folds: list[str]) -> None:
        """Runs that have finished, by one that the operator has finished: its status, with their own names."""
        async with self._operator(namespace):
            await self._runs.prepare(namespace)
            async with self._runs.finishing(namespace, ["sample"]):
                await self._runs.create(namespace, "sample", tuple(folds))
        path = f"{API}/namespaces/{namespace}/trainingruns"
        status = json.dumps({"status": (await self._client.request("GET", f"{path}/sample"))["status"]})

        async def put(number: int) -> None:
            name = f"done-{number:05}"
            await self._runs.create(namespace, name, tuple(folds))
            body = status.replace("sample", name).encode()
            await self._client.request("PATCH", f"{path}/{name}/status", body, MERGE)

        await in_parallel(put, range(runs - 1))


def _worker(pid: int) -> int:
    """The child of a profiler; itself where it has none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid
