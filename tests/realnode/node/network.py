"""The bridge, the cluster's DNS and the addresses of Services."""

from __future__ import annotations

import subprocess

import yaml
from support.apiclient import ApiClient

from .control_plane import answers
from .layout import ADDRESS, BRIDGE, DNS_READY_PORT, NODE, POD_CIDR, PROXY_HEALTH_PORT, PROXY_METRICS_PORT, Layout
from .processes import Processes

COREFILE = """
.:53 {{
    bind {address}
    errors
    ready 127.0.0.1:{ready}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
    cache {{
        success 1000 1
        denial 1000 1
        disable denial cluster.local
    }}
}}
"""
DNS_RIGHTS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "system:coredns"},
    "rules": [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ],
}
DNS_USER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "system:coredns"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
}


def make_bridge() -> None:
    """The node's own network, which nothing outside this machine reaches."""
    if subprocess.run(["ip", "link", "show", BRIDGE], capture_output=True).returncode:
        subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
    subprocess.run(["ip", "addr", "replace", f"{ADDRESS}/24", "dev", BRIDGE], check=True)
    subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
    for setting in ("net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"):
        # The second is there only where the module is loaded; without it traffic between pods does not pass the filters anyway.
        subprocess.run(["sysctl", "-qw", setting], capture_output=True)


def start_dns(layout: Layout, processes: Processes, api: ApiClient) -> None:
    """CoreDNS at the bridge's address, where pods look for it."""
    api.apply_all([DNS_RIGHTS, DNS_USER])
    text = COREFILE.format(address=ADDRESS, ready=DNS_READY_PORT, kubeconfig=layout.kubeconfig_of("coredns"))
    (layout.config / "Corefile").write_text(text)
    arguments = ["coredns", "-conf", str(layout.config / "Corefile")]
    processes.start("coredns", arguments, ready=lambda: answers(f"http://127.0.0.1:{DNS_READY_PORT}/ready"))


def start_proxy(layout: Layout, processes: Processes) -> None:
    """kube-proxy, which gives the addresses of Services a meaning."""
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE,
        "clusterCIDR": POD_CIDR,
        "clientConnection": {"kubeconfig": str(layout.kubeconfig_of("kube-proxy"))},
        "metricsBindAddress": f"127.0.0.1:{PROXY_METRICS_PORT}",
        "healthzBindAddress": f"127.0.0.1:{PROXY_HEALTH_PORT}",
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    path = layout.config / "kube-proxy.yaml"
    path.write_text(yaml.safe_dump(settings))
    healthy = f"http://127.0.0.1:{PROXY_HEALTH_PORT}/healthz"
    processes.start("kube-proxy", ["kube-proxy", f"--config={path}"], ready=lambda: answers(healthy))
