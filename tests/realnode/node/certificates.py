"""A certificate authority, the certificates of servers, and a token for each program of the cluster."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path

from .layout import ADDRESS, API_PORT, API_SERVICE, NODE, Layout

USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("system:coredns", ""),
}
"""The user and the group that each program is to the API server."""


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _certificate(folder: Path, name: str, subject: str, addresses: str = "") -> None:
    extensions = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"]
    extensions += [f"subjectAltName={addresses}"] if addresses else []
    (folder / f"{name}.ext").write_text("\n".join(extensions) + "\n")
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    _openssl(folder, "req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", f"{name}.ext"]
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.crt")


def make(layout: Layout) -> None:
    """Write all of them, and a kubeconfig for each user."""
    folder = layout.pki
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
    authority = [
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
    ]
    _openssl(
        folder, "req", "-x509", "-new", "-key", "ca.key", "-days", "30", "-subj", "/CN=nnunet-e2e", *authority, "-out", "ca.crt"
    )
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "service-accounts.key")
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    api = f"IP:{ADDRESS},IP:{API_SERVICE}," + ",".join(f"DNS:{name}" for name in names)
    _certificate(folder, "apiserver", "/CN=kube-apiserver", api)
    _certificate(folder, "apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    _certificate(folder, "kubelet", f"/CN={NODE}", f"IP:{ADDRESS},DNS:{NODE}")
    lines = []
    for user, (name, group) in USERS.items():
        token = secrets.token_hex(16)
        lines.append(f'{token},{name},{name},"{group}"')
        (folder / f"{user}.token").write_text(token)
        (folder / f"{user}.token").chmod(0o600)
        _kubeconfig(layout, user, token)
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
    (folder / "tokens.csv").chmod(0o600)


def _kubeconfig(layout: Layout, user: str, token: str) -> None:
    cluster = {"server": f"https://{ADDRESS}:{API_PORT}", "certificate-authority": str(layout.pki / "ca.crt")}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user}}],
    }
    layout.kubeconfig_of(user).write_text(json.dumps(document))
    layout.kubeconfig_of(user).chmod(0o600)
