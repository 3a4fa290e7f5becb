"""Runs pods as processes. It keeps no state but files: another runner over the same folder goes on with what runs.

One folder a pod: `launch.json`, `process.json`, `exit.json`, `stop.json` (see shim.py), `termination-log`, `root/` with the mounts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import pod_status, shim
from .host import Host, NotYet
from .launch import prepare

Manifest = dict[str, Any]

LOST = "The process is gone and left no exit code: the machine went down, or its shim was killed."
STARTING_SECONDS = 30.0
"""So long after another shell was to start a process it is waited for; a shim of our own is as long as it lives."""


class Runner:
    """The processes of one folder.

    Args:
        folder: one sub-folder a pod, named by its uid.
        host: what the machine gives to a pod.
        log: where a pod's output goes; default `log` in its folder.
    """

    def __init__(self, folder: Path, host: Host, log: Callable[[Manifest], Path] | None = None) -> None:
        self.folder = folder.absolute()
        self.host = host
        self.log = log or (lambda pod: self._of(pod) / "log")
        self._shims: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, pod: Manifest, ip: str, gpus: list[str] | None = None, threads: int | None = None) -> Manifest:
        """Start a pod's process, unless it was started before. The arguments are those of `launch.prepare`.

        Returns:
            the pod's status: waiting with a reason, or as `status` says.
        """
        folder = self._of(pod)
        if not self.begun(pod) and pod["metadata"]["uid"] not in self._shims:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                launch = prepare(pod, folder, self.host, ip=ip, gpus=gpus, threads=threads)
            except NotYet as reason:
                return pod_status.waiting(pod, "CreateContainerConfigError", str(reason))
            log, env = self.log(pod), launch.pop("env")
            log.parent.mkdir(parents=True, exist_ok=True)
            if not self.started(pod):
                shim.write(folder / shim.LAUNCH, {**launch, "log": str(log), "ip": ip})
            # Started twice, as after a kill between these lines, the second shim finds the first one's lock and leaves.
            command = [sys.executable, "-I", "-S", shim.__file__, str(folder)]
            null = subprocess.DEVNULL
            process = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True, cwd="/", env=env)
            self._shims[pod["metadata"]["uid"]] = process
        return self.status(pod)

    def status(self, pod: Manifest) -> Manifest:
        """What has become of a pod that was started, as its status. It changes only when something has happened."""
        self._shims = {uid: shim_ for uid, shim_ in self._shims.items() if shim_.poll() is None}  # reaps
        folder = self._of(pod)
        old: Manifest = pod.get("status", {})
        if old.get("phase") in ("Succeeded", "Failed"):
            return old
        end = _read(folder / shim.EXIT)
        if end is None:
            process = _read(folder / shim.PROCESS)
            if process is None:
                begun = _mtime(folder / shim.LAUNCH)
                if begun is None or pod["metadata"]["uid"] in self._shims or time.time() - begun < STARTING_SECONDS:
                    return pod_status.waiting(pod, "ContainerCreating", "the process starts")
                self.stop(pod, 0)  # another shell's shim may be late, and must not start what counts as lost
                process = _read(folder / shim.PROCESS)
                if process is None:
                    return pod_status.lost(pod, time.time(), "The process did not start.")
            if shim.start_time(process["shim"]) == process["shimStart"]:
                return pod_status.running(pod, self.ip(pod) or "127.0.0.1", process["startedAt"])
            # It may have ended between the two looks.
            end = _read(folder / shim.EXIT)
            if end is None:
                self._kill_rest(process)
                return pod_status.lost(pod, time.time(), LOST)
        container = pod["spec"]["containers"][0]
        message = pod_status.termination_message(folder, self.log(pod), container, end["exitCode"])
        self._tidy(folder)
        return pod_status.terminated(pod, end, message, self.ip(pod))

    def started(self, pod: Manifest) -> bool:
        """Whether a start of this pod was ever tried."""
        return (self._of(pod) / shim.LAUNCH).exists()

    def begun(self, pod: Manifest) -> bool:
        """Whether a pod's process runs or has run: it is not to be started again."""
        return (self._of(pod) / shim.PROCESS).exists()

    def alive(self, pod: Manifest) -> bool:
        """Whether the pod's process, or its shim, still runs."""
        process = _read(self._of(pod) / shim.PROCESS)
        return process is not None and shim.start_time(process["shim"]) == process["shimStart"]

    def stop(self, pod: Manifest, grace: float) -> None:
        """Ask a pod's process to end: SIGTERM now, SIGKILL after `grace` seconds. A shorter grace may follow a longer one."""
        folder = self._of(pod)
        if not folder.exists():
            return
        before = _read(folder / shim.STOP)
        if before is not None and before["grace"] <= grace:
            return
        shim.write(folder / shim.STOP, {"grace": grace})
        process = _read(folder / shim.PROCESS)
        if process and shim.start_time(process["shim"]) == process["shimStart"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process["shim"], signal.SIGTERM)

    def ip(self, pod: Manifest) -> str | None:
        """The address that the pod was started with."""
        launch = _read(self._of(pod) / shim.LAUNCH)
        return launch["ip"] if launch else None

    def forget(self, pod: Manifest) -> None:
        """Remove a pod's folder; its log stays where it lies elsewhere."""
        shutil.rmtree(self._of(pod), ignore_errors=True)

    def _of(self, pod: Manifest) -> Path:
        return self.folder / str(pod["metadata"]["uid"])

    def _kill_rest(self, process: Manifest) -> None:
        pid = process.get("pid")
        if pid and shim.start_time(pid) == process["start"]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def _tidy(self, folder: Path) -> None:
        """Scratch and secrets go with the process; nobody can look into them any more."""
        for name in ("root", "volumes"):
            shutil.rmtree(folder / name, ignore_errors=True)


def address(uid: str, taken: Iterable[str]) -> str:
    """A loopback address for a pod, 127.1.x.y, that no living pod has."""
    used, number = set(taken), zlib.crc32(uid.encode())
    while True:
        ip = f"127.1.{1 + number // 254 % 254}.{1 + number % 254}"
        if ip not in used:
            return ip
        number += 1


def _read(path: Path) -> Manifest | None:
    try:
        found: Manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return found


def _mtime(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None
