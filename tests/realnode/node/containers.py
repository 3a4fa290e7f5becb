"""containerd and the kubelet: what runs pods."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from .cleanup import CGROUP
from .control_plane import answers
from .layout import ADDRESS, BRIDGE, KUBELET_HEALTH_PORT, KUBELET_PORT, NODE, POD_CIDR, Layout
from .processes import Processes

PAUSE = "localhost/pause:1"
CONTAINERD = """
version = 3
root = "{images}"
state = "{run}/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  # Machines without CAP_SYS_RESOURCE cannot lower an oom_score_adj.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "/usr/sbin/runc"
        Root = "{run}/runc"
        SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{config}/cni"
"""


def configure(layout: Layout) -> None:
    """Write the configuration of containerd, of its network, and of the kubelet."""
    fields = {"images": layout.images, "run": layout.run, "socket": layout.socket, "config": layout.config, "pause": PAUSE}
    (layout.config / "containerd.toml").write_text(CONTAINERD.format(**fields))
    (layout.config / "cni").mkdir(exist_ok=True)
    leases = {"type": "host-local", "dataDir": str(layout.data / "cni"), "ranges": [[{"subnet": POD_CIDR}]]}
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True}
    network = {**bridge, "ipam": {**leases, "routes": [{"dst": "0.0.0.0/0"}]}}
    plugins = {"cniVersion": "1.0.0", "name": "e2e", "plugins": [network]}
    (layout.config / "cni" / "10-bridge.conflist").write_text(json.dumps(plugins))
    (layout.config / "resolv.conf").write_text("")
    (layout.config / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(layout)))


def _kubelet(layout: Layout) -> dict[str, object]:
    nearly_off = dict.fromkeys(("nodefs.available", "imagefs.available", "nodefs.inodesFree", "imagefs.inodesFree"), "1%")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "containerRuntimeEndpoint": f"unix://{layout.socket}",
        "oomScoreAdj": 0,
        "address": ADDRESS,
        "port": KUBELET_PORT,
        "healthzPort": KUBELET_HEALTH_PORT,
        "podLogsDir": str(layout.logs / "pods"),
        "tlsCertFile": str(layout.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.pki / "kubelet.key"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(layout.config / "resolv.conf"),
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        # There is no registry to get an image from again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "200Mi", **nearly_off},
        "maxPods": 60,
        "maxOpenFiles": 20000,
        "syncFrequency": "10s",
        "fileCheckFrequency": "1h",
        "nodeStatusUpdateFrequency": "1s",
        "nodeLeaseDurationSeconds": 5,
        "seccompDefault": True,
        "shutdownGracePeriod": "0s",
    }


def start_containerd(layout: Layout, processes: Processes) -> None:
    """Start it and wait until it answers."""
    arguments = ["containerd", "--config", str(layout.config / "containerd.toml")]
    processes.start("containerd", arguments, ready=lambda: ctr(layout, "version", check=False).returncode == 0)


def start_kubelet(layout: Layout, processes: Processes) -> None:
    """Start it and wait until it calls itself healthy; the Node object may take a moment longer."""
    arguments = ["kubelet", f"--config={layout.config}/kubelet.yaml", f"--kubeconfig={layout.kubeconfig_of('kubelet')}"]
    arguments += [f"--root-dir={layout.data}/kubelet", f"--hostname-override={NODE}", f"--node-ip={ADDRESS}"]
    arguments += [f"--cert-dir={layout.run}/kubelet", "--v=2"]
    processes.start("kubelet", arguments, ready=lambda: answers(f"http://127.0.0.1:{KUBELET_HEALTH_PORT}/healthz"))


def ctr(layout: Layout, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """containerd's own command line."""
    command = [str(layout.binaries / "ctr"), "-a", str(layout.socket), "-n", "k8s.io", *arguments]
    return subprocess.run(command, check=check, capture_output=True, text=True)


def import_image(layout: Layout, archive: Path) -> None:
    """Import an image of a docker archive."""
    ctr(layout, "images", "import", "--all-platforms", str(archive))


def untagged(listing: str) -> list[str]:
    """Of what `ctr images ls` says: the names that are a digest, and whose image no other name has.

    containerd's part for Kubernetes names each image by its digest, too; that name stays when a newer image takes the other.
    """
    rows = [line.split()[:3] for line in listing.splitlines()[1:] if line.strip()]
    tagged = {digest for name, _, digest in rows if not name.startswith("sha256:")}
    return [name for name, _, digest in rows if name.startswith("sha256:") and digest not in tagged]


def remove_untagged_images(layout: Layout) -> int:
    """Remove them, and wait until their layers are gone. Returns how many there were."""
    names = untagged(ctr(layout, "images", "ls").stdout)
    if names:
        ctr(layout, "images", "rm", "--sync", *names)
    return len(names)
