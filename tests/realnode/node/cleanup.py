"""Leaves nothing of a node behind: containers, mounts, network, rules, control groups, files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from support.apiclient import wait_until
from support.controlplane import alive

from .layout import BRIDGE, Layout

CGROUPS = Path("/sys/fs/cgroup")
CGROUP = "nnunet-e2e"
"""Of the node's pods: whatever else runs on this machine is in others."""
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")


def make_cgroups() -> None:
    """The control group that the kubelet puts its pods in, in each hierarchy of version 1 or in the one of version 2."""
    for hierarchy in _hierarchies():
        (hierarchy / CGROUP).mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group of version 1, which then takes no process
            if (hierarchy / name).exists():
                (hierarchy / CGROUP / name).write_text((hierarchy / name).read_text())


def _hierarchies() -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [folder for folder in CGROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()]


def kill_containers(layout: Layout) -> None:
    """Kill every process of a pod, and the shims that look after them: what a node's crash does."""
    files = [file for hierarchy in _hierarchies() for file in (hierarchy / CGROUP).glob("**/cgroup.procs")]
    pids = {int(pid) for file in files for pid in _read(file).split()} | set(_shims(layout))
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until(lambda: not any(map(alive, pids)), timeout=20, what="the containers' processes to end")


def _shims(layout: Layout) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        words = _read(place).split("\0")
        if words[0].endswith("/containerd-shim-runc-v2") and str(layout.socket) in words:
            found.append(int(place.parent.name))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def unmount(layout: Layout) -> None:
    """Every mount below the node's folder."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{layout.root}/")), reverse=True):
        if subprocess.run(["umount", point], capture_output=True).returncode:
            subprocess.run(["umount", "-l", point], capture_output=True)


def remove_network(layout: Layout) -> None:
    """The bridge, the pods' ends of it, and kube-proxy's rules."""
    subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True)
    settings, program = layout.config / "kube-proxy.yaml", layout.binaries / "kube-proxy"
    if settings.exists() and program.exists():
        subprocess.run([str(program), "--cleanup", f"--config={settings}"], capture_output=True)


def remove_cgroups() -> None:
    """The pods' control groups, innermost first."""
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / CGROUP, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                continue


def remove_files(layout: Layout) -> None:
    """All but the images and the logs, and what the kubelet wrote to the one place that cannot be chosen."""
    for folder in (layout.pki, layout.config, layout.run, layout.data):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (*DEVICE_PLUGINS.glob("pretend-*.sock"), *DEVICE_PLUGINS.glob("kubelet*")):
        file.unlink()
    links = Path("/var/log/containers").glob("*.log")
    for link in [link for link in links if str(os.readlink(link)).startswith(str(layout.logs))]:
        link.unlink()
