"""What the control groups allow, found from inside; with made /proc and hierarchies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nnunet_trainer.contract import limits

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
CORES = len(os.sched_getaffinity(0))
V1 = "4:memory:{path}\n3:cpu,cpuacct:{path}\n0::/init.scope\n"
V2 = "0::{path}\n"
MOUNTS_V1 = (
    "33 31 0:29 {root} {top}/memory rw,relatime - cgroup cgroup rw,memory\n"
    "34 31 0:30 {root} {top}/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
)
MOUNTS_V2 = "30 23 0:26 {root} {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "root", "path", "files", "memory", "cores"),
    [
        (V2, MOUNTS_V2, "/", "/", {"memory.max": "2147483648", "cpu.max": "150000 100000"}, 2 << 30, 1),
        (V2, MOUNTS_V2, "/", "/", {"memory.max": "max", "cpu.max": "max 100000"}, MACHINE, CORES),
        (V2, MOUNTS_V2, "/", "/", {}, MACHINE, CORES),
        # The tightest of the groups above counts.
        (
            V2,
            MOUNTS_V2,
            "/",
            "/pod/box",
            {"memory.max": "5000", "pod/memory.max": "1000", "pod/box/memory.max": "max"},
            1000,
            CORES,
        ),
        (V2, MOUNTS_V2, "/", "/pod/box", {"pod/memory.max": "max", "pod/box/memory.max": "900"}, 900, CORES),
        (V2, MOUNTS_V2, "/", "/pod/box", {"pod/box/memory.high": "700", "pod/box/memory.max": "900"}, 700, CORES),
        # A container whose own group is mounted as the top, while /proc names it from the machine's.
        (V2, MOUNTS_V2, "/kubepods/pod1/box", "/kubepods/pod1/box", {"memory.max": "800"}, 800, CORES),
        (V2, MOUNTS_V2, "/", "/kubepods/not/seen/here", {"memory.max": "800"}, 800, CORES),
        (V2, MOUNTS_V2, "/kubepods/pod1", "/kubepods/pod1/box", {"memory.max": "max", "box/memory.max": "600"}, 600, CORES),
        (
            V1,
            MOUNTS_V1,
            "/",
            "/pod/box",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/pod/memory.limit_in_bytes": "3000",
                "memory/pod/box/memory.limit_in_bytes": "9223372036854771712",
                "cpu,cpuacct/pod/box/cpu.cfs_quota_us": "100000",
                "cpu,cpuacct/pod/box/cpu.cfs_period_us": "100000",
            },
            3000,
            1,
        ),
        (
            V1,
            MOUNTS_V1,
            "/",
            "/docker/x",
            {"memory/memory.limit_in_bytes": "4000", "cpu,cpuacct/cpu.cfs_quota_us": "-1"},
            4000,
            CORES,
        ),
        (V1, MOUNTS_V1, "/docker/x", "/docker/x", {"memory/memory.limit_in_bytes": "4000"}, 4000, CORES),
        ("", "", "/", "/", {"memory.max": "17"}, MACHINE, CORES),  # nothing is mounted
        ("garbage\n\n0::\n", "30\n - \n", "/", "/", {}, MACHINE, CORES),
    ],
)
def test_limits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cgroup: str,
    mounts: str,
    root: str,
    path: str,
    files: dict[str, str],
    memory: int,
    cores: int,
) -> None:
    proc, top = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    (proc / "cgroup").write_text(cgroup.format(path=path))
    (proc / "mountinfo").write_text(mounts.format(root=root, top=top))
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"{text}\n")
    monkeypatch.setattr(limits, "PROC", proc)
    assert limits.memory_limit() == memory
    assert limits.cpu_limit() == cores


def test_this_machine() -> None:
    assert 0 < limits.memory_limit() <= MACHINE
    assert 1 <= limits.cpu_limit() <= CORES
