"""A pytest plug-in: a test run that leaves a process behind fails, and names it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MARK = "NNUNET_TEST_RUN"
"""A variable of the run's own value, which what tests start inherits, workers and what those start as well."""
PATIENCE = 60.0
"""Seconds for what was asked to end."""
PYTHONS_OWN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""They end with the process that made them."""

_found = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Mark all that this run will start."""
    if not _is_worker():
        os.environ[MARK] = secrets.token_hex(8)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look when all fixtures, and all workers, are at their end."""
    if _is_worker():
        return
    end = time.monotonic() + PATIENCE
    while (left := sorted(left_behind())) and time.monotonic() < end:
        time.sleep(0.1)
    session.config.stash[_found] = left
    if left and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name them."""
    if left := config.stash.get(_found, []):
        terminalreporter.section("processes that the tests left behind", red=True)
        for line in left:
            terminalreporter.line(line, red=True)


def left_behind() -> Iterator[str]:
    """Processes, as `pid command`, that are children of this one or bear its mark, wherever they hang by now."""
    me = str(os.getpid())
    mark = f"{MARK}={os.environ[MARK]}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            marked = mark in (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is somebody else's
            continue
        # Of this process itself `environ` tells what it was started with.
        if process.name != me and state != "Z" and (parent == me or marked) and not any(own in command for own in PYTHONS_OWN):
            yield f"{process.name} {command[:200]}"


def _is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ
