"""etcd, the API server, the controller manager and the scheduler, with every controller that a cluster has."""

from __future__ import annotations

import ssl
import urllib.request

from .layout import (
    ADDRESS,
    API_PORT,
    CONTROLLER_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    SCHEDULER_PORT,
    SERVICE_CIDR,
    Layout,
)
from .processes import Processes


def answers(url: str, token: str = "") -> bool:
    """Whether a health endpoint says that all is well."""
    # On this machine, with a certificate of a moment ago.
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def start(layout: Layout, processes: Processes) -> None:
    """Start all four and wait for each."""
    pki, token = layout.pki, (layout.pki / "admin.token").read_text()
    client, peer = f"http://127.0.0.1:{ETCD_PORT}", f"http://127.0.0.1:{ETCD_PEER_PORT}"
    processes.start(
        "etcd",
        ["etcd", "--data-dir", str(layout.data / "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
         "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
         "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"],
        ready=lambda: answers(f"{client}/readyz"),
    )  # fmt: skip
    processes.start(
        "kube-apiserver",
        ["kube-apiserver", f"--etcd-servers={client}", f"--bind-address={ADDRESS}", f"--advertise-address={ADDRESS}",
         f"--secure-port={API_PORT}", f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
         f"--token-auth-file={pki}/tokens.csv", f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
         f"--kubelet-client-key={pki}/apiserver-kubelet.key", f"--kubelet-certificate-authority={pki}/ca.crt",
         "--kubelet-preferred-address-types=InternalIP", "--service-account-issuer=https://kubernetes.default.svc",
         f"--service-account-key-file={pki}/service-accounts.key",
         f"--service-account-signing-key-file={pki}/service-accounts.key",
         f"--service-cluster-ip-range={SERVICE_CIDR}", "--authorization-mode=Node,RBAC",
         "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=false",
         "--anonymous-auth=false"],
        ready=lambda: answers(f"https://{ADDRESS}:{API_PORT}/readyz", token),
    )  # fmt: skip
    processes.start(
        "kube-controller-manager",
        ["kube-controller-manager", f"--kubeconfig={layout.kubeconfig_of('controller-manager')}", "--bind-address=127.0.0.1",
         f"--secure-port={CONTROLLER_PORT}", f"--root-ca-file={pki}/ca.crt", "--leader-elect=false",
         f"--service-account-private-key-file={pki}/service-accounts.key", "--use-service-account-credentials=true",
         "--allocate-node-cidrs=false", f"--cert-dir={layout.run}/controller-manager",
         # A node that is gone is told after seconds instead of 40, so that losing one can be tried.
         "--node-monitor-grace-period=10s", "--node-monitor-period=1s",
         "--authorization-always-allow-paths=/healthz"],
        ready=lambda: answers(f"https://127.0.0.1:{CONTROLLER_PORT}/healthz"),
    )  # fmt: skip
    processes.start(
        "kube-scheduler",
        ["kube-scheduler", f"--kubeconfig={layout.kubeconfig_of('scheduler')}", "--bind-address=127.0.0.1",
         f"--secure-port={SCHEDULER_PORT}", "--leader-elect=false", f"--cert-dir={layout.run}/scheduler",
         "--authorization-always-allow-paths=/healthz"],
        ready=lambda: answers(f"https://127.0.0.1:{SCHEDULER_PORT}/healthz"),
    )  # fmt: skip
