"""The node's programs as processes: started with a log and a pid file, ended by pid."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from support.apiclient import wait_until
from support.controlplane import alive, stop

from .layout import Layout


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Processes:
    """What runs of a node. It ends with this process, however that ends."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: Sequence[str], *, ready: Callable[[], object], seconds: float = 90) -> None:
        """Start a program and wait until it is ready.

        Raises:
            RuntimeError: it ended, with the end of its log.
        """
        path = os.pathsep.join([str(self.layout.binaries), os.environ["PATH"], "/usr/sbin", "/sbin"])
        with self._log(name).open("ab") as log:
            child = subprocess.Popen(
                [str(self.layout.binaries / arguments[0]), *arguments[1:]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PATH": path},
                preexec_fn=_die_with_parent,
            )  # fmt: skip
        self._children[name] = child
        self._pid_file(name).write_text(str(child.pid))

        def answered() -> bool:
            if child.poll() is not None:
                raise RuntimeError(f"{name} ended with {child.returncode}:\n{self.log(name)}")
            return bool(ready())

        wait_until(answered, timeout=seconds, what=lambda: f"{name} to be ready:\n{self.log(name)}")

    def end(self, name: str, *, kill: bool = False) -> None:
        """End a program, this process's own or one of an earlier run; one that is gone is no error."""
        try:
            pid = int(self._pid_file(name).read_text())
        except (OSError, ValueError):
            return
        if self._is_ours(pid):
            if kill:
                os.kill(pid, signal.SIGKILL)
            stop(pid)
        if child := self._children.pop(name, None):
            child.wait()
        self._pid_file(name).unlink(missing_ok=True)

    def log(self, name: str, size: int = 3000) -> str:
        """The end of a program's log."""
        return self._log(name).read_bytes()[-size:].decode(errors="replace")

    def _is_ours(self, pid: int) -> bool:
        """A pid file may be old and its number another's by now."""
        try:
            program = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            return False
        return alive(pid) and program.startswith(str(self.layout.binaries.parent))

    def _log(self, name: str) -> Path:
        return self.layout.logs / f"{name}.log"

    def _pid_file(self, name: str) -> Path:
        return self.layout.run / f"{name}.pid"
