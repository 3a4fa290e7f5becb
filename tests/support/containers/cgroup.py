"""A control group with a memory limit, where this machine lets one be made."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_trainer.contract import control_groups


class NoGroup(Exception):
    """Why no group can be made here."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group to run commands in."""

    folder: Path
    version: int

    def enter(self) -> None:
        """Move the calling process here (a `preexec_fn`)."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def run(self, command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command with its children in the group."""
        return subprocess.run(command, preexec_fn=self.enter, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]

    @property
    def peak(self) -> int:
        """Most bytes that were held at once, the page cache too."""
        return int((self.folder / ("memory.max_usage_in_bytes" if self.version == 1 else "memory.peak")).read_text())

    @property
    def kills(self) -> int:
        """Processes that the kernel killed for want of memory."""
        text = (self.folder / ("memory.oom_control" if self.version == 1 else "memory.events")).read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))


@contextlib.contextmanager
def limited(size: int) -> Iterator[Group]:
    """A group below this process's own whose processes may hold `size` bytes together, swap included.

    Raises:
        NoGroup: not here, and why.
    """
    group = _make(size)
    try:
        yield group
    finally:
        for _ in range(200):
            with contextlib.suppress(OSError):  # a process that has just ended may still be counted
                group.folder.rmdir()
                break
            time.sleep(0.05)


def _make(size: int) -> Group:
    why = "no cgroup hierarchy with a memory controller is mounted"
    for parent in control_groups.groups("memory"):
        version = 1 if (parent / "memory.limit_in_bytes").exists() else 2
        folder = parent / f"nnunet-test-{os.getpid()}-{time.monotonic_ns()}"
        try:
            folder.mkdir()
        except OSError as error:
            why = f"{folder}: {error.strerror}"
            continue
        try:
            for name, value in _settings(folder, version, size):
                (folder / name).write_text(value)
            _check_that_processes_may_enter(folder)
        except OSError as error:
            why = f"{folder}: {error.strerror}"
            folder.rmdir()
            continue
        return Group(folder, version)
    raise NoGroup(why)


def _settings(folder: Path, version: int, size: int) -> list[tuple[str, str]]:
    if version == 1:
        names = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        return [(name, str(size)) for name in names if (folder / name).exists()]
    swap = [("memory.swap.max", "0")] if (folder / "memory.swap.max").exists() else []
    return [("memory.max", str(size)), *swap]


def _check_that_processes_may_enter(folder: Path) -> None:
    enter: Callable[[], object] = lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))  # noqa: E731
    try:
        subprocess.run(["true"], preexec_fn=enter, check=True)
    except subprocess.SubprocessError as error:
        raise OSError(1, "no process may enter it") from error
