"""The operator as a real process against a real API server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import forked_operators
from .apiclient import wait_until
from .containers.container import Container
from .controlplane import ControlPlane
from .forked_operators import ForkedProcess
from .ports import free_port

HURRIED = Path(__file__).with_name("hurried_operator.py")


class OperatorProcess:
    """`nnunet-operator run` with a kubeconfig, in a process of its own.

    Args:
        plane: the control plane.
        folder: where its log goes.
        namespaces: those that it works in; empty: all.
        kubeconfig: under which rights; the administrator's by default (`ControlPlane.kubeconfig_for` makes others).
        environment: added to our own, such as NNUNET_STORAGE_URI.
        arguments: further flags.
        container: where it runs, with its variables alone and the rights of the service account that is mounted there.
        seconds: constants by their dotted names, and what they are instead, so that a test need not wait for minutes to pass.
    """

    def __init__(
        self,
        plane: ControlPlane,
        folder: Path,
        *,
        namespaces: Sequence[str] = (),
        kubeconfig: Path | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        container: Container | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.port = free_port()
        self.log_file = folder / f"operator-{self.port}.log"
        self._seconds = dict(seconds or {})
        self._arguments = [
            *("run", "--http", f"127.0.0.1:{self.port}", "--log-format", "json"),
            *(() if container else ("--kubeconfig", str(kubeconfig or plane.kubeconfig))),
            *(part for name in namespaces for part in ("--namespace", name)),
            *arguments,
        ]
        own = {"NNUNET_PROGRESS_SECONDS": "0.5", **(environment or {})}
        self._environment = {**os.environ, **own}
        self._contained = container.command(["nnunet-operator", *self._arguments], own) if container else None
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None

    def start(self, *, ready: bool = True) -> OperatorProcess:
        """Start it, and wait until it is ready."""
        if self._contained is None and (forks := forked_operators.in_tests) is not None:
            self._process = forks.fork(self._arguments, self._environment, self.log_file, self._seconds)
        else:
            program = ["-P", str(HURRIED), json.dumps(self._seconds)] if self._seconds else ["-m", "nnunet_operator.cli"]
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    self._contained or [sys.executable, *program, *self._arguments],
                    env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        if ready:
            wait_until(self.is_ready, what=lambda: f"the operator to be ready ({self.readiness()}):\n{self.log}")
        return self

    @property
    def process(self) -> subprocess.Popen[bytes] | ForkedProcess:
        """The running process."""
        assert self._process is not None, "start it first"
        return self._process

    @property
    def log(self) -> str:
        """All that it logged."""
        return self.log_file.read_text(errors="replace")

    def get(self, path: str) -> tuple[int, str]:
        """Ask its HTTP server: status and text; status 0 when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def readiness(self) -> tuple[int, str]:
        """The answer of /readyz."""
        return self.get("/readyz")

    def is_ready(self) -> bool:
        """Whether it is ready.

        Raises:
            RuntimeError: it ended.
        """
        if self.process.poll() is not None:
            raise RuntimeError(f"The operator ended with {self.process.returncode}:\n{self.log}")
        return self.readiness()[0] == 200

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value, summed over all series that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            if match := re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line):
                found = dict(re.findall(r'(\w+)="([^"]*)"', match[1] or ""))
                if labels.items() <= found.items():
                    total += float(match[2])
        return total

    def stop(self) -> float:
        """SIGTERM; the seconds until it was gone."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __enter__(self) -> OperatorProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()  # how it ends when it is asked to has tests of its own; it takes a second
