"""Operators that begin with their modules loaded: importing those takes two seconds of CPU, a fork a hundredth of one.

A pytest plug-in: while it is on, `OperatorProcess` takes its processes from here; what runs in a container starts as it would.
Run as a program, it loads the modules and forks an operator for each line that it reads.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import hurried_operator

TESTS = Path(__file__).parents[1]


class ForkedProcess:
    """An operator; its methods are those of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def end(self, returncode: int) -> None:
        """Say that it has ended."""
        self.returncode = returncode
        self._ended.set()

    def poll(self) -> int | None:
        """Its exit status; None as long as it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"the operator with pid {self.pid}", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and that is about to be told
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Forks:
    """One program that forks operators; it is started when the first one is asked for."""

    def __init__(self) -> None:
        self._program: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._forked: queue.Queue[ForkedProcess | None] = queue.Queue()
        self._running: dict[int, ForkedProcess] = {}
        self._early: dict[int, int] = {}  # exit statuses of those whose start is not told yet

    def fork(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, seconds: Mapping[str, float]
    ) -> ForkedProcess:
        """Start `nnunet-operator` with these arguments.

        Args:
            seconds: constants by their dotted names, and what they are instead.

        Raises:
            RuntimeError: the program that forks them has ended.
        """
        wanted = {"arguments": list(arguments), "environment": dict(environment), "log": str(log), "seconds": dict(seconds)}
        with self._lock:
            if self._program is None:
                self._program = subprocess.Popen(
                    [sys.executable, "-m", "support.forked_operators"],
                    cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
                )  # fmt: skip
                threading.Thread(target=self._listen, args=(self._program,), name="forks", daemon=True).start()
            assert self._program.stdin is not None
            self._program.stdin.write(json.dumps({**wanted, "folder": os.getcwd()}).encode() + b"\n")
            self._program.stdin.flush()
            if (process := self._forked.get()) is None:
                raise RuntimeError(f"What forks operators ended with {self._program.wait(60)}.")
            return process

    def close(self) -> None:
        """End the program, and with it all that it has forked."""
        if self._program is not None:
            assert self._program.stdin is not None
            self._program.stdin.close()
            self._program.wait(60)

    def _listen(self, program: subprocess.Popen[bytes]) -> None:
        assert program.stdout is not None
        for line in program.stdout:
            told: dict[str, int] = json.loads(line)
            pid = told["pid"]
            if "returncode" not in told:
                self._running[pid] = process = ForkedProcess(pid)
                if pid in self._early:
                    self._running.pop(pid).end(self._early.pop(pid))
                self._forked.put(process)
            elif pid in self._running:
                self._running.pop(pid).end(told["returncode"])
            else:
                self._early[pid] = told["returncode"]
        self._forked.put(None)


in_tests: Forks | None = None
"""Where tests take operators from; None outside pytest."""


def pytest_configure() -> None:
    """Have operators forked."""
    global in_tests
    in_tests = Forks()


def pytest_sessionfinish() -> None:
    """End what forks them."""
    if in_tests is not None:
        in_tests.close()


def main() -> None:
    """Fork an operator for each line."""
    import nnunet_operator.cluster.application
    import nnunet_operator.cluster.command  # noqa: F401

    signal.signal(signal.SIGCHLD, _reap)
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(_run(json.loads(line)))
        _tell(pid=pid)


def _run(wanted: dict[str, Any]) -> int:
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the program, as that does with pytest
        os.setsid()
        os.chdir(wanted["folder"])
        log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(wanted["environment"])
        random.seed()
        status = hurried_operator.run(wanted["seconds"], wanted["arguments"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(status)


def _reap(*_: object) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(pid=pid, returncode=os.waitstatus_to_exitcode(status))


def _tell(**what: int) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")  # in one piece: the signal handler may come between


if __name__ == "__main__":
    main()
