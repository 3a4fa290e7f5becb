"""What the kernel says about processes of this container that it killed for want of memory."""

from __future__ import annotations

from . import limits


def oom_kills() -> int:
    """How often it happened so far, by the nearest of this process's groups that counts (cgroup v2, v1); 0 where none does."""
    for group in limits.groups("memory"):
        for name in ("memory.events", "memory.oom_control"):
            try:
                fields = dict(line.split(maxsplit=1) for line in (group / name).read_text().splitlines() if " " in line)
                return int(fields["oom_kill"])
            except (OSError, KeyError, ValueError):
                continue
    return 0
