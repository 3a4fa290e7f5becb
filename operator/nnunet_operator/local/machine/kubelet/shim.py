"""The parent of a pod's process: outlives the shell, forwards signals, and writes down how the process ended.

Run as a script by path, with the standard library alone, so that it starts in milliseconds: `python -I -S shim.py FOLDER`.
FOLDER holds `launch.json`; the process gets the shim's own environment, which is written nowhere. The shim writes `process.json`
once the process runs and `exit.json`, atomically, when it has ended. A folder with `process.json` whose process is gone and that
has no `exit.json` means that the machine went down.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

LAUNCH, PROCESS, EXIT, STOP = "launch.json", "process.json", "exit.json", "stop.json"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def write(path: Path, data: dict[str, Any]) -> None:
    """Write JSON so that a reader sees all of it or nothing."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def start_time(pid: int) -> str | None:
    """When a process started, in the kernel's own count since boot, with the boot's id: tells a pid from its namesake.

    None when there is no such process, or when only its zombie is left.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return None
        return "unknown" if _exists(pid) else None  # no /proc: the pid has to do
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _prctl(option: int, value: int) -> None:
    # Linux alone; elsewhere a process that leaves its group outlives its pod.
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _oom_kills() -> int:
    """How often the kernel has killed for memory, in this cgroup or on this machine."""
    for name in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat"):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(name).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def descendants(pid: int) -> list[int]:
    """All processes below one, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, ahead = [], list(children.get(pid, []))
    while ahead:
        found.append(ahead.pop())
        ahead += children.get(found[-1], [])
    return found


class Shim:
    """One process, from start to exit.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.child = 0
        self.kill_at: float | None = None
        self.asked = False

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """SIGTERM to the process now; SIGKILL to all that is left after the grace period that stop.json names."""
        grace = 30.0
        with contextlib.suppress(OSError, ValueError, KeyError):
            grace = float(json.loads((self.folder / STOP).read_text())["grace"])
        at = time.monotonic() + grace
        self.kill_at = at if self.kill_at is None else min(at, self.kill_at)
        self.asked = True
        if self.child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGTERM)

    def kill(self) -> None:
        """End the process and whatever it has started."""
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, signal.SIGKILL)

    def run(self) -> None:
        """Start, wait, write exit.json."""
        launch = json.loads((self.folder / LAUNCH).read_text())
        lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another shell was quicker
        if (self.folder / PROCESS).exists() or (self.folder / EXIT).exists():
            return
        for caught in (signal.SIGINT, signal.SIGHUP):
            signal.signal(caught, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        wakeup, written = os.pipe()
        for end in (wakeup, written):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(written)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        kills, started = _oom_kills(), time.time()
        # Before the start, so that a process never runs that nobody knows of.
        me = {"shim": os.getpid(), "shimStart": start_time(os.getpid()), "startedAt": started}
        write(self.folder / PROCESS, me)
        if (self.folder / STOP).exists():
            self._finish(started, signal.SIGTERM, 0)
            return
        self.child = self._spawn(launch)
        write(self.folder / PROCESS, {**me, "pid": self.child, "start": start_time(self.child)})
        if self.asked:
            self.stop()
        status = self._wait(wakeup)
        self._clear()
        self._finish(started, status, _oom_kills() - kills)

    def _spawn(self, launch: dict[str, Any]) -> int:
        log = os.open(launch["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        child = os.fork()
        if child:
            return child
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            for default in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(default, signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            os.chdir(launch["cwd"])
            os.execvp(launch["argv"][0], launch["argv"])
        except OSError as error:
            os.write(2, f"cannot start {launch['argv'][0]}: {error.strerror}\n".encode())
        finally:
            # 126 and 127 as a shell has them: found but not to be run, not found.
            os._exit(127)

    def _wait(self, wakeup: int) -> int:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == self.child:
                return status
            if pid:
                continue
            left = None if self.kill_at is None else self.kill_at - time.monotonic()
            if left is not None and left <= 0:
                self.kill()
                left = 0.1
            select.select([wakeup], [], [], left)
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)

    def _clear(self) -> None:
        """What the process has left behind ends with it, as in a container whose first process ends."""
        with contextlib.suppress(ChildProcessError):
            while True:
                self.kill()
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                time.sleep(0.02)

    def _finish(self, started: float, status: int, oom_kills: int) -> None:
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + ended_by if ended_by else os.waitstatus_to_exitcode(status)
        end = {"exitCode": code, "signal": ended_by, "asked": self.asked, "oomKills": oom_kills}
        write(self.folder / EXIT, {**end, "startedAt": started, "finishedAt": time.time()})


if __name__ == "__main__":
    Shim(Path(sys.argv[1])).run()
