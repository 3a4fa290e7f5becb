"""What the control groups allow, found from inside; with made /proc and hierarchies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nnunet_trainer.contract import control_groups

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
CORES = len(os.sched_getaffinity(0))
V1 = "4:memory:{path}\n3:cpu,cpuacct:{path}\n0::/init.scope\n"
V2 = "0::{path}\n"
MOUNTS_V1 = (
    "33 31 0:29 {root} {top}/memory rw,relatime - cgroup cgroup rw,memory\n"
    "34 31 0:30 {root} {top}/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
)
MOUNTS_V2 = "30 23 0:26 {root} {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def make_groups(
    folder: Path, monkeypatch: pytest.MonkeyPatch, cgroup: str, mounts: str, root: str, path: str, files: dict[str, str]
) -> None:
    """Hierarchies with these files below their top, and what /proc says of them."""
    proc, top = folder / "proc", folder / "cgroup"
    proc.mkdir()
    (proc / "cgroup").write_text(cgroup.format(path=path))
    (proc / "mountinfo").write_text(mounts.format(root=root, top=top))
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"{text}\n")
    monkeypatch.setattr(control_groups, "PROC", proc)


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
    make_groups(tmp_path, monkeypatch, cgroup, mounts, root, path, files)
    assert control_groups.memory_limit() == memory
    assert control_groups.cpu_limit() == cores


EVENTS_V2, EVENTS_V1 = "low 0\noom 3\noom_kill {}", "oom_kill_disable 0\nunder_oom 0\noom_kill {}"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "root", "path", "files", "expected"),
    [
        (V2, MOUNTS_V2, "/", "/", {"memory.events": EVENTS_V2.format(2)}, 2),
        # Not of the machine, nor of other containers: the nearest group that counts.
        (
            V2,
            MOUNTS_V2,
            "/",
            "/pod/box",
            {"pod/box/memory.events": EVENTS_V2.format(1), "pod/memory.events": EVENTS_V2.format(9)},
            1,
        ),
        (V2, MOUNTS_V2, "/", "/pod/box/inner", {"pod/box/memory.events": EVENTS_V2.format(4), "pod/box/inner/cgroup.type": ""}, 4),
        (V2, MOUNTS_V2, "/kubepods/pod1/box", "/kubepods/pod1/box", {"memory.events": EVENTS_V2.format(3)}, 3),
        (V1, MOUNTS_V1, "/", "/docker/x", {"memory/memory.oom_control": EVENTS_V1.format(5)}, 5),
        (V1, MOUNTS_V1, "/", "/pod/box", {"memory/pod/box/memory.oom_control": EVENTS_V1.format(6)}, 6),
        (V1, MOUNTS_V1, "/docker/x", "/docker/x", {"memory/memory.oom_control": EVENTS_V1.format(7)}, 7),
        (
            V1,
            MOUNTS_V1,
            "/",
            "/pod/box",
            {"memory/pod/box/memory.oom_control": "oom_kill_disable 0\nunder_oom 0"},
            0,
        ),  # old kernels
        (V2, MOUNTS_V2, "/", "/", {"memory.events": "?"}, 0),
        ("", "", "/", "/", {"memory.events": EVENTS_V2.format(8)}, 0),  # nothing is mounted
    ],
)
def test_kills_for_want_of_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cgroup: str,
    mounts: str,
    root: str,
    path: str,
    files: dict[str, str],
    expected: int,
) -> None:
    make_groups(tmp_path, monkeypatch, cgroup, mounts, root, path, files)
    assert control_groups.oom_kills() == expected


def test_this_machine() -> None:
    assert 0 < control_groups.memory_limit() <= MACHINE
    assert 1 <= control_groups.cpu_limit() <= CORES
