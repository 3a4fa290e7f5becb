"""Processes of benchmarks/gpu.py: each with a time limit and some cores; what becomes of one is no matter to the others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LEAST = 5.0
"""Seconds: what has no more is not begun."""
STOPS = (signal.SIGINT, signal.SIGTERM)
SHOWN = 12
"""Lines of what a process that failed has said."""


class Processes:
    """Runs one after the other.

    Args:
        until: all have ended by then (time.monotonic).

    Attributes:
        failed: what did not end well.
        left_out: what there was no time for.
    """

    def __init__(self, until: float) -> None:
        self.until = until
        self.failed: list[str] = []
        self.left_out: list[str] = []

    def output(
        self, what: str, command: Sequence[str], *, limit: float, cores: int | None = None, quiet: bool = False
    ) -> str | None:
        """Run a command. Whatever ends it ends the processes that it has begun, too.

        Args:
            what: the name by which it is told.
            command: with its arguments.
            limit: seconds.
            cores: that it has; None: all.
            quiet: give what it prints, and print it not.

        Returns:
            None where it did not end well, or was not begun: Ctrl-C ends it, and nothing is begun after that.
        """
        limit = min(limit, self.until - time.monotonic())
        if limit <= LEAST:
            self.left_out.append(f"{what}: no time left")
            return None
        wanted = sorted(os.sched_getaffinity(0))[:cores]

        def begin() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            os.sched_setaffinity(0, wanted)

        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            problem = None
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until it is known whom to end
            output = out if quiet else None
            child = subprocess.Popen(command, stdout=output, stderr=err, preexec_fn=begin, start_new_session=True)
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
                if child.wait(limit):
                    problem = f"it ended with {child.returncode}"
            except subprocess.TimeoutExpired:
                problem = f"it took longer than {limit:.0f} s"
            except KeyboardInterrupt:
                problem, self.until = "it was stopped", 0.0
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            for file in (out, err):
                file.seek(0)
            said, complained = out.read(), err.read().strip().splitlines()
        if problem is None:
            return said
        self.failed.append(what)
        print("\n".join([f"FAILED  {what}: {problem}", *(f"        {line}" for line in complained[-SHOWN:])]), flush=True)
        return None


def told(path: Path) -> dict[str, Any]:
    """The figures that a process has told, a JSON object a line; none where there is no such file."""
    found: dict[str, Any] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):  # it was killed as it wrote
            found |= json.loads(line)
    return found
