"""What this process's control groups (cgroup v1 and v2) say: what it may use of the machine, and what was killed in them.

A limit is the least of its own group's and of all above.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/self")
UNLIMITED = 1 << 60
"""What cgroup v1 says where nothing is limited is a number, and larger than this."""


def memory_limit() -> int:
    """Bytes that this process may use: the least of its groups' limits and the machine's memory."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in groups("memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            text = _read(group / name)
            if text.isdigit() and 0 < int(text) < UNLIMITED:
                least = min(least, int(text))
    return least


def cpu_limit() -> int:
    """Cores that this process may use, by its groups' quotas and its affinity; at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in groups("cpu"):
        words = _read(group / "cpu.max").split() or [_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")]
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
            cores = min(cores, math.floor(int(words[0]) / int(words[1])))
    return max(1, cores)


def oom_kills() -> int:
    """How often the kernel has killed a process here for want of memory, as the nearest group that counts it says; else 0."""
    for group in groups("memory"):
        for name in ("memory.events", "memory.oom_control"):
            try:
                fields = dict(line.split(maxsplit=1) for line in (group / name).read_text().splitlines() if " " in line)
                return int(fields["oom_kill"])
            except (OSError, KeyError, ValueError):
                continue
    return 0


def groups(controller: str) -> Iterator[Path]:
    """The folders of this process's groups that count for a controller, from its own up to the topmost that is mounted.

    A container often sees its own group as the top; then /proc names a path that is not there, and the top is taken.
    """
    own = _own_paths(controller)
    for mount, root, version in _mounts(controller):
        if version not in own:
            continue
        path = own[version]
        below = os.path.relpath(path, root) if path == root or path.startswith(root.rstrip("/") + "/") else "."
        folder = mount / below if below != "." and (mount / below).is_dir() else mount
        while True:
            yield folder
            if folder == mount:
                break
            folder = folder.parent


def _own_paths(controller: str) -> dict[int, str]:
    """This process's group in the hierarchy of version 1 that has the controller, and in that of version 2."""
    found: dict[int, str] = {}
    for line in _read(PROC / "cgroup").splitlines():
        number, names, path = [*line.split(":", 2), "", ""][:3]
        if controller in names.split(","):
            found[1] = path
        elif number == "0" and not names:
            found[2] = path
    return found


def _mounts(controller: str) -> Iterator[tuple[Path, str, int]]:
    """Where hierarchies are mounted: the folder, which group is its root, the version."""
    for line in _read(PROC / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            yield Path(fields[4]), fields[3], 2
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            yield Path(fields[4]), fields[3], 1


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
