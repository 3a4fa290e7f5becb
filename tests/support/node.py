"""A small node for the real API server: runs pods as processes, with the local shell's own runner.

It does what a kubelet does for the pods that are bound to it: mounts ConfigMaps and Secrets, starts the container's command, writes
the pod's status, ends it with its grace period. Its processes inherit no credentials: they know S3 from their Secrets alone.
"""

from __future__ import annotations

import base64
import os
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

from nnunet_operator.local.machine.kubelet import pod_status
from nnunet_operator.local.machine.kubelet.host import Host
from nnunet_operator.local.machine.kubelet.process_runner import Runner, address

from .apiclient import ApiClient, ApiError
from .controlplane import NODE, ControlPlane

Manifest = dict[str, Any]

ENDED = ("Succeeded", "Failed")
PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")


class ProcessNode:
    """Runs the pods of some namespaces until it is stopped. Use it as a context manager.

    Args:
        plane: the control plane.
        folder: where pods lie; their logs are `folder/<pod>.log`.
        namespaces: whose pods; empty: all.
        at_once: how many processes may run at the same time; further pods wait as they would for an image.
        environment: added to what processes see.
        interval: seconds between two looks.
    """

    def __init__(
        self,
        plane: ControlPlane,
        folder: Path,
        *,
        namespaces: Sequence[str] = (),
        at_once: int = 2,
        environment: Mapping[str, str] | None = None,
        interval: float = 0.2,
    ) -> None:
        self.api: ApiClient = plane.admin
        self.folder, self.namespaces, self.at_once, self.interval = folder, namespaces, at_once, interval
        inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        host = Host(contents=self._contents, environment={**inherited, "OMP_NUM_THREADS": "1", **(environment or {})})
        self.runner = Runner(folder / "pods", host, log=self.log)
        self.errors: list[str] = []
        self._known: dict[str, Manifest] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)

    def __enter__(self) -> ProcessNode:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End every process, then the node. What went wrong inside the node fails the test.

        Raises:
            RuntimeError: the node met an error of its own.
        """
        self._stop.set()
        self._thread.join(timeout=60)
        for pod in self._known.values():
            self.runner.stop(pod, 0)
        pause = threading.Event()
        for _ in range(3000):
            if not any(self.runner.alive(pod) for pod in self._known.values()):
                break
            pause.wait(0.02)
        if self.errors:
            raise RuntimeError("\n".join(self.errors))

    def log(self, pod: Manifest) -> Path:
        """Where a pod's output goes."""
        return self.folder / f"{pod['metadata']['namespace']}-{pod['metadata']['name']}.log"

    def evict(self, pod: Manifest, reason: str = "EvictionByEvictionAPI") -> None:
        """Take a pod away as a drained node does: the condition first, then a deletion with its grace."""
        status = pod_status.disrupted(self._read(pod)["status"], time.time(), reason, "drained by a test")
        self.api.patch(pod, {"status": {"conditions": status["conditions"]}}, sub="status")
        self.api.delete(pod)

    def _run(self) -> None:
        while not self._stop.wait(self.interval):
            try:
                self._tick()
            except Exception as error:
                # The API server may be down or restarting: a node outlives that.
                if isinstance(error, (OSError, HTTPException)) or (
                    isinstance(error, ApiError) and (error.code >= 500 or error.code in (404, 409, 429))
                ):
                    continue
                self.errors.append(traceback.format_exc())
                return

    def _tick(self) -> None:
        pods = [pod for namespace in self.namespaces or self._all_namespaces() for pod in self.api.list("v1", "Pod", namespace)]
        mine = [pod for pod in pods if pod["spec"].get("nodeName") == NODE]
        self._known |= {pod["metadata"]["uid"]: pod for pod in mine}
        present = {pod["metadata"]["uid"] for pod in mine}
        for uid, pod in list(self._known.items()):
            if uid not in present:  # deleted by force: nobody waits for its status
                self.runner.stop(pod, 0)
                if not self.runner.alive(pod):
                    self.runner.forget(pod)
                    del self._known[uid]
        running = sum(self.runner.alive(pod) or self._starting(pod) for pod in mine)
        for pod in mine:
            if (
                pod["status"].get("phase") not in ENDED
                and not pod["metadata"].get("deletionTimestamp")
                and not self.runner.begun(pod)
            ):
                if running >= self.at_once and not self.runner.started(pod):
                    continue
                running += not self.runner.started(pod)
                self._write(pod, self._start(pod, mine))
            else:
                self._follow(pod)

    def _start(self, pod: Manifest, others: list[Manifest]) -> Manifest:
        taken = [ip for other in others if self.runner.alive(other) and (ip := self.runner.ip(other))]
        return self.runner.start(pod, self.runner.ip(pod) or address(pod["metadata"]["uid"], taken))

    def _starting(self, pod: Manifest) -> bool:
        return self.runner.started(pod) and not self.runner.begun(pod)

    def _follow(self, pod: Manifest) -> None:
        meta = pod["metadata"]
        if self.runner.started(pod):
            self._write(pod, self.runner.status(pod))
        if not meta.get("deletionTimestamp"):
            return
        if self.runner.alive(pod):
            self.runner.stop(pod, meta.get("deletionGracePeriodSeconds", 30))
        elif pod["status"].get("phase") in ENDED or not self.runner.started(pod):
            self.api.delete(pod, grace=0)

    def _write(self, pod: Manifest, status: Manifest) -> None:
        if status == pod["status"]:
            return
        # Of the version that was read: a condition that came meanwhile is not written over.
        version = {"resourceVersion": pod["metadata"]["resourceVersion"]}
        try:
            pod["status"] = self.api.patch(pod, {"metadata": version, "status": status}, sub="status")["status"]
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def _read(self, pod: Manifest) -> Manifest:
        found = self.api.get("v1", "Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        assert found is not None
        return found

    def _all_namespaces(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.api.request("GET", "/api/v1/namespaces")["items"]]

    def _contents(self, kind: Literal["ConfigMap", "Secret"], namespace: str, name: str) -> dict[str, bytes] | None:
        found = self.api.get("v1", kind, namespace, name)
        if found is None:
            return None
        data = found.get("data") or {}
        if kind == "Secret":
            return {key: base64.b64decode(value) for key, value in data.items()}
        binary = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
        return {key: value.encode() for key, value in data.items()} | binary
