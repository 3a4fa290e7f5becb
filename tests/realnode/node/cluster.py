"""One real node with its control plane: from nothing to Ready, and away again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from support.apiclient import ApiClient, wait_until
from support.controlplane import assets as control_plane_binaries

from . import certificates, cleanup, containers, control_plane, network
from .layout import ADDRESS, API_PORT, NODE, Layout
from .processes import Processes

BUILD = Path(__file__).resolve().parents[1] / "build.sh"
GPUS = 2
STOP_ORDER = (
    "gpu-plugin",
    "kubelet",
    "kube-proxy",
    "coredns",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
)
"""containerd comes last: containers are killed before."""


def binaries_folder() -> Path:
    """Where the programs are, or will be."""
    return Path(subprocess.run([str(BUILD), "--print"], check=True, capture_output=True, text=True).stdout.strip())


def binaries() -> Path:
    """The folder with all programs; those of the test control plane are linked into it.

    Raises:
        FileNotFoundError: they are not built; the message names the command that builds them.
    """
    folder = binaries_folder()
    for name in ("etcd", "kube-apiserver", "kube-controller-manager"):
        link = folder / name
        if folder.is_dir() and not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(control_plane_binaries() / name)
    wanted = ("kubelet", "kube-proxy", "kube-scheduler", "kubectl", "containerd", "ctr", "coredns", "helm", "gpu-plugin")
    if missing := [name for name in wanted if not os.access(folder / name, os.X_OK)]:
        raise FileNotFoundError(f"{', '.join(missing)} not found in {folder}. Build the node's programs once: {BUILD}")
    return folder


def requirements(layout: Layout) -> list[str]:
    """What this machine lacks to run a node, for people."""
    programs = {"runc": "runc", "nft": "nftables", "iptables": "iptables", "conntrack": "conntrack", "buildah": "buildah"}
    programs |= {"ethtool": "ethtool", "socat": "socat", "debootstrap": "debootstrap", "openssl": "openssl", "ip": "iproute2"}
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    lacking = [package for program, package in programs.items() if not shutil.which(program, path=path)]
    lacking += [] if Path("/usr/lib/cni/bridge").exists() else ["containernetworking-plugins"]
    lacking += [] if Path("/bin/busybox").exists() else ["busybox-static"]
    found = [f"Debian packages: {' '.join(sorted(lacking))}"] if lacking else []
    found += [] if os.geteuid() == 0 else ["root's rights"]
    # Their device plugins would meet, and so would the rules for the addresses of Services.
    return found + [
        f"to be without another Kubernetes ({name} runs)" for name in sorted(_running(layout) & {"kubelet", "k3s", "k0s"})
    ]


def _running(layout: Layout) -> set[str]:
    """Names of the programs that run here and are not the node's own."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/exe"):
        try:
            program = link.readlink()
        except OSError:
            continue
        if program.parent != layout.binaries:
            found.add(program.name)
    return found


class RealNode:
    """A cluster of one node, with all its state below one folder."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root, binaries())
        self.processes = Processes(self.layout)

    @property
    def api(self) -> ApiClient:
        """A client that may do everything."""
        token = (self.layout.pki / "admin.token").read_text()
        return ApiClient(f"https://{ADDRESS}:{API_PORT}", token, str(self.layout.pki / "ca.crt"))

    def start_network(self) -> None:
        """What is left of an earlier node goes; the bridge comes. Images are kept."""
        self.stop()
        self.layout.make()
        network.make_bridge()
        cleanup.make_cgroups()

    def start_containerd(self) -> None:
        """Alone, so that images can be imported."""
        containers.configure(self.layout)
        containers.start_containerd(self.layout, self.processes)

    def start(self) -> None:
        """The rest; returns when the node is Ready, names resolve, and the pretend GPUs are counted."""
        certificates.make(self.layout)
        control_plane.start(self.layout, self.processes)
        containers.start_kubelet(self.layout, self.processes)
        network.start_dns(self.layout, self.processes, self.api)
        network.start_proxy(self.layout, self.processes)
        plugin = ["gpu-plugin", "-n", str(GPUS)]
        self.processes.start("gpu-plugin", plugin, ready=lambda: self.gpus() == GPUS)
        wait_until(self.is_ready, timeout=60, what=lambda: f"the node to be Ready:\n{self.processes.log('kubelet')}")
        wait_until(lambda: self.api.get("v1", "ServiceAccount", "default", "default"), what="the first service account")

    def is_ready(self) -> bool:
        """Whether the API server takes the node for Ready."""
        node = self.api.get("v1", "Node", None, NODE) or {}
        return any(c["type"] == "Ready" and c["status"] == "True" for c in node.get("status", {}).get("conditions", []))

    def gpus(self) -> int:
        """GPUs that pods may ask for."""
        node = self.api.get("v1", "Node", None, NODE) or {}
        return int(node.get("status", {}).get("allocatable", {}).get("nvidia.com/gpu", 0))

    def crash(self) -> None:
        """The machine is gone: the kubelet, containerd and every container, without a word. The Node object stays."""
        for name in ("kubelet", "containerd"):
            self.processes.end(name, kill=True)
        cleanup.kill_containers(self.layout)

    def come_back(self) -> None:
        """The machine is up again, with what lay on its disk."""
        containers.start_containerd(self.layout, self.processes)
        containers.start_kubelet(self.layout, self.processes)
        wait_until(self.is_ready, timeout=60, what="the node to be Ready again")

    def stop(self) -> None:
        """End everything and remove it, what an earlier run left behind too."""
        for name in STOP_ORDER:
            self.processes.end(name, kill=name in ("kubelet", "kube-proxy"))
        cleanup.kill_containers(self.layout)
        self.processes.end("containerd", kill=True)
        cleanup.unmount(self.layout)
        cleanup.remove_network(self.layout)
        cleanup.remove_cgroups()
        cleanup.remove_files(self.layout)
