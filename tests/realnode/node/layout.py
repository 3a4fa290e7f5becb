"""Where the node keeps its things, and its addresses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "nnunet-e2e"
POD_CIDR = "10.244.0.0/24"
ADDRESS = "10.244.0.1"
"""The bridge's own: the node, the API server, DNS and the S3 server are there for pods."""
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
NODE = "e2e-node"
ETCD_PORT, ETCD_PEER_PORT, API_PORT = 23790, 23800, 16443
CONTROLLER_PORT, SCHEDULER_PORT = 20257, 20259
KUBELET_PORT, KUBELET_HEALTH_PORT = 20250, 20248
PROXY_METRICS_PORT, PROXY_HEALTH_PORT = 20249, 20256
DNS_READY_PORT = 18181


@dataclass(frozen=True)
class Layout:
    """All folders of one node, below one.

    Beside it the kubelet and runc write to places that cannot be chosen: /var/lib/kubelet/device-plugins, /var/log/containers and
    /run/containerd/s.
    """

    root: Path
    binaries: Path

    @property
    def pki(self) -> Path:
        """Certificates, keys and tokens."""
        return self.root / "pki"

    @property
    def config(self) -> Path:
        """Configuration files and kubeconfigs."""
        return self.root / "config"

    @property
    def logs(self) -> Path:
        """One file a program, and the pods' own."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Sockets, pid files and what containerd keeps of running containers."""
        return self.root / "run"

    @property
    def data(self) -> Path:
        """etcd, the kubelet's volumes, address leases."""
        return self.root / "data"

    @property
    def images(self) -> Path:
        """containerd's images, which outlive a node: importing them takes a minute."""
        return self.root / "images"

    @property
    def socket(self) -> Path:
        """containerd's."""
        return self.run / "containerd.sock"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.kubeconfig_of("admin")

    def kubeconfig_of(self, user: str) -> Path:
        return self.config / f"{user}.kubeconfig"

    def make(self) -> None:
        for folder in (self.pki, self.config, self.logs, self.run, self.data, self.images):
            folder.mkdir(parents=True, exist_ok=True)


def default_root() -> Path:
    """$NNUNET_E2E_DIR, or a folder of the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("NNUNET_E2E_DIR") or cache / "nnunet-operator" / "e2e")
