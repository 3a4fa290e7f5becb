"""A real control plane on loopback: etcd, kube-apiserver, kube-controller-manager. No kubelet, and a scheduler for those who ask.

Pods are bound to one node at admission, but for namespaces that a scheduler looks after (`create_namespace(scheduled=True)`).
Whoever plays the kubelet (`support.node`, or a test itself) writes their status.
Binaries come from `KUBEBUILDER_ASSETS` or from the cache that `make controlplane` fills; without them tests fail.

All workers of one pytest-xdist run share one control plane: the first starts it, the last stops it.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from .apiclient import ApiClient, ApiError, wait_until
from .ports import free_port

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "tests" / "controlplane" / "build.sh"
AUDIT_POLICY = ROOT / "tests" / "support" / "audit-policy.yaml"
NODE = "node-0"
BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager")
SCHEDULED = "tests.nnunet.dev/scheduled"
"""The label of a namespace whose pods are not bound at admission."""
STOP_ORDER = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")  # an API server without etcd ignores SIGTERM
CONTROLLERS = (
    "job-controller,garbage-collector-controller,namespace-controller,serviceaccount-controller,ttl-after-finished-controller,"
    "podgroup-protection-controller"
)


def assets(*more: str) -> Path:
    """The folder with the binaries. `more`: those that not every test needs.

    Raises:
        FileNotFoundError: they are not built; the message names the command that builds them.
    """
    printed = subprocess.run([str(BUILD), "", "--print"], check=True, capture_output=True, text=True)
    folder = Path(printed.stdout.strip())
    if missing := [name for name in (*BINARIES, *more) if not os.access(folder / name, os.X_OK)]:
        raise FileNotFoundError(
            f"{', '.join(missing)} not found in {folder}. Build the test control plane once: {BUILD.relative_to(ROOT)}"
        )
    return folder


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def stop(pid: int, patience: float = 8) -> None:
    """SIGTERM, then SIGKILL after `patience` seconds; returns when the process is gone."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if not alive(pid):
            break
        os.kill(pid, sign)
        with_patience = patience if sign == signal.SIGTERM else 30
        try:
            wait_until(lambda: not alive(pid), timeout=with_patience, what=f"process {pid} to end")
        except TimeoutError:
            if sign == signal.SIGKILL:
                raise


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing stays behind when pytest itself is killed


def _signing_key() -> str:
    """A fresh P-256 private key for service-account tokens, as SEC1 PEM (the public point is optional there)."""
    scalar = b"\0" + secrets.token_bytes(31)  # below the group's order
    der = bytes.fromhex("30310201010420") + scalar + bytes.fromhex("a00a06082a8648ce3d030107")
    return f"-----BEGIN EC PRIVATE KEY-----\n{b64encode(der).decode()}\n-----END EC PRIVATE KEY-----\n"


class ControlPlane:
    """One control plane in one folder.

    Args:
        folder: its own, empty folder; logs, keys and data lie there.
        die_with_parent: end with the thread that started it, however that ends.
        features: feature gates that are switched on in all components.
        apis: groups and versions that are served although they are not by default.
        apiserver: further arguments of the API server.
    """

    def __init__(
        self,
        folder: Path,
        *,
        die_with_parent: bool = True,
        features: Sequence[str] = (),
        apis: Sequence[str] = (),
        apiserver: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._gates = [f"--feature-gates={','.join(f'{name}=true' for name in features)}"] if features else []
        self._apis = [f"--runtime-config={','.join(f'{name}=true' for name in apis)}"] if apis else []
        self._die_with_parent, self._apiserver = die_with_parent, tuple(apiserver)
        self._names = itertools.count()
        self.pids: dict[str, int] = {}
        self._arguments: dict[str, list[str]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = self.token = self._etcd_health = ""

    # -- life --

    def start(self, crds: Path = ROOT / "crds") -> ControlPlane:
        """From nothing to ready, with the CRDs of a folder: about five seconds."""
        binaries = assets()
        (self.folder / "pki").mkdir(parents=True)
        key = self.folder / "pki" / "sa.key"
        key.write_text(_signing_key())
        self.token = secrets.token_hex(16)
        (self.folder / "pki" / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._arguments["etcd"] = [
            str(binaries / "etcd"), "--data-dir", str(self.folder / "etcd"), "--listen-client-urls", client,
            "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
            "--unsafe-no-fsync", "--log-level", "warn",
        ]  # fmt: skip
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        self._arguments["kube-apiserver"] = [
            str(binaries / "kube-apiserver"), "--etcd-servers", client, "--bind-address=127.0.0.1", f"--secure-port={port}",
            "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            "--cert-dir", str(self.folder / "pki" / "apiserver"),
            "--authorization-mode=RBAC", "--token-auth-file", str(self.folder / "pki" / "tokens.csv"),
            "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file", str(key),
            "--service-account-signing-key-file", str(key), "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
            *self._gates, *self._apis,
            "--audit-policy-file", str(AUDIT_POLICY), "--audit-log-path", str(self.folder / "audit.log"), *self._apiserver,
        ]  # fmt: skip
        health = free_port()
        self._controllers_health = f"https://127.0.0.1:{health}/healthz"
        self._arguments["kube-controller-manager"] = [
            str(binaries / "kube-controller-manager"), "--kubeconfig", str(self.kubeconfig), f"--controllers={CONTROLLERS}",
            "--service-account-private-key-file", str(key), "--use-service-account-credentials=false", "--leader-elect=false",
            "--bind-address=127.0.0.1", f"--secure-port={health}", "--cert-dir", str(self.folder / "pki" / "kcm"),
            "--concurrent-job-syncs=20", "--kube-api-qps=300", "--kube-api-burst=600", "--authentication-skip-lookup=true",
            "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics", *self._gates,
        ]  # fmt: skip
        try:
            self._etcd_health = f"{client}/readyz"
            self._spawn("etcd", self._etcd_health)
            self.start_apiserver()
            self._write_kubeconfig(self.kubeconfig, self.token)
            self._prepare()
            self.install_crds(crds)  # first: the garbage collector looks for new kinds only every 30 s
            self._spawn("kube-controller-manager", self._controllers_health)
        except BaseException:
            self.stop()
            raise
        return self

    def start_apiserver(self) -> None:
        """Start the API server, for the first time or again after `stop_apiserver`."""
        self._spawn("kube-apiserver", f"{self.url}/readyz")

    def stop_apiserver(self) -> None:
        """Stop the API server alone: what an operator sees when the control plane is upgraded."""
        self._end("kube-apiserver")

    def kill_apiserver(self) -> None:
        """SIGKILL to the API server; `start_apiserver` starts it again."""
        self._kill("kube-apiserver")

    def kill_etcd(self) -> None:
        """SIGKILL to etcd; `start_etcd` starts it again over the same data."""
        self._kill("etcd")

    def start_etcd(self) -> None:
        """Start etcd, and wait until the API server answers again."""
        client = self._arguments["kube-apiserver"][2]
        self._spawn("etcd", f"{client}/readyz")
        self._await("kube-apiserver", f"{self.url}/readyz")

    def _kill(self, name: str) -> None:
        os.kill(self.pids.pop(name), signal.SIGKILL)
        self._processes.pop(name).wait()

    @contextmanager
    def scheduler(self) -> Iterator[None]:
        """Run kube-scheduler meanwhile: it places the pods of all namespaces in which they are not bound at admission."""
        name, port = "kube-scheduler", free_port()
        self._arguments[name] = [
            str(assets(name) / name), "--kubeconfig", str(self.kubeconfig), "--leader-elect=false", "--bind-address=127.0.0.1",
            f"--secure-port={port}", "--cert-dir", str(self.folder / "pki" / "scheduler"), "--authentication-skip-lookup=true",
            "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics", *self._gates,
        ]  # fmt: skip
        self._spawn(name, f"https://127.0.0.1:{port}/readyz")
        try:
            yield
        finally:
            self._end(name)

    @contextmanager
    def while_away(self) -> Iterator[ApiClient]:
        """Stop the API server and yield a client of another one over the same data, then start the first again.

        Whoever watched the first missed what was done meanwhile, and is told so (410) rather than what it was.
        """
        self.stop_apiserver()
        arguments, url = self._arguments["kube-apiserver"], self.url
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        old = next(argument for argument in arguments if argument.startswith("--secure-port="))
        self._arguments["kube-apiserver"] = [f"--secure-port={port}" if a == old else a for a in arguments]
        try:
            self.start_apiserver()
            yield self.admin
        finally:
            self.stop_apiserver()
            self._arguments["kube-apiserver"], self.url = arguments, url
            self.start_apiserver()

    def back_up(self) -> Path:
        """A copy of all that is stored, in a folder of its own; the API server is away meanwhile."""
        copy = self.folder / f"backup-{next(self._names)}"
        self._with_etcd_stopped(lambda: shutil.copytree(self.folder / "etcd", copy))
        return copy

    def restore(self, copy: Path) -> None:
        """Let the cluster be as it was when a backup was made: what came later is gone, and versions begin at the backup's.

        The controllers start anew, as etcd's documentation asks for: their caches are of a cluster that never was.
        """

        def replace() -> None:
            shutil.rmtree(self.folder / "etcd")
            shutil.copytree(copy, self.folder / "etcd")

        self._end("kube-controller-manager")
        self._with_etcd_stopped(replace)
        self._spawn("kube-controller-manager", self._controllers_health)

    def _with_etcd_stopped(self, do: Callable[[], object]) -> None:
        self.stop_apiserver()
        self._end("etcd")
        do()
        self._spawn("etcd", self._etcd_health)
        self.start_apiserver()

    def stop(self) -> None:
        """Stop all of it, in the order in which it can end."""
        for name in STOP_ORDER:
            self._end(name)

    def _end(self, name: str) -> None:
        if pid := self.pids.pop(name, None):
            # An API server ends when its last watch does, which may be never: its clients see it end in either way.
            stop(pid, patience=1 if name == "kube-apiserver" else 8)
            if process := self._processes.pop(name, None):
                process.wait()

    def _spawn(self, name: str, health: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self._arguments[name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=_die_with_parent if self._die_with_parent else None,
            )  # fmt: skip
        self._processes[name], self.pids[name] = process, process.pid
        self._await(name, health)

    def _await(self, name: str, health: str) -> None:
        process = self._processes[name]
        # Loopback, and a certificate that was made a moment ago: there is nothing to check it against yet.
        context = ssl._create_unverified_context()
        request = urllib.request.Request(health, headers={"Authorization": f"Bearer {self.token}"})

        def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.log(name)}")
            try:
                with urllib.request.urlopen(request, context=context, timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        wait_until(ready, what=lambda: f"{name} to be ready:\n{self.log(name)}")

    def log(self, name: str, size: int = 2000) -> str:
        """The end of a component's log."""
        return (self.folder / f"{name}.log").read_bytes()[-size:].decode(errors="replace")

    def _prepare(self) -> None:
        api = self.admin
        api.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}})
        for manifest in yaml.safe_load_all((ROOT / "tests" / "support" / "bind-pods.yaml").read_text()):
            api.apply(manifest)

    # -- access --

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def ca(self) -> str:
        """The server's self-signed certificate serves as its CA."""
        return str(self.folder / "pki" / "apiserver" / "apiserver.crt")

    @property
    def admin(self) -> ApiClient:
        """A client that may do everything."""
        return ApiClient(self.url, self.token, self.ca)

    def client_for(self, namespace: str, service_account: str) -> ApiClient:
        """A client under a service account's own Role."""
        return ApiClient(self.url, self.admin.token_for(namespace, service_account), self.ca)

    def may(self, namespace: str, service_account: str, *, group: str, resource: str, verb: str) -> bool:
        """Whether a service account may do something in its namespace: Roles take effect a moment after they are made."""
        wanted = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
        spec = {"user": f"system:serviceaccount:{namespace}:{service_account}", "resourceAttributes": wanted}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = self.admin.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
        return bool(answer["status"]["allowed"])

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig under a service account's own Role."""
        path = self.folder / f"kubeconfig-{namespace}-{service_account}"
        self._write_kubeconfig(path, self.admin.token_for(namespace, service_account))
        return path

    def kubeconfig_of(self, namespace: str) -> Path:
        """A kubeconfig that may do everything, whose context is of this namespace."""
        path = self.folder / f"kubeconfig-{namespace}"
        self._write_kubeconfig(path, self.token, namespace)
        return path

    def _write_kubeconfig(self, path: Path, token: str, namespace: str = "default") -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": self.url, "certificate-authority": self.ca}}],
            "users": [{"name": "tests", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": namespace}}],
        }
        path.write_text(json.dumps(config))

    # -- what tests need --

    def install_crds(self, folder: Path = ROOT / "crds") -> None:
        """Apply all CRDs of a folder and wait until the server serves them."""
        api = self.admin
        names = []
        for file in sorted(folder.glob("*.yaml")):
            for crd in filter(None, yaml.safe_load_all(file.read_text())):
                names.append(crd["metadata"]["name"])
                api.apply(crd)
        if not names:
            raise FileNotFoundError(f"There is no CRD in {folder}. Generate them: nnunet-operator crds")
        for name in names:
            wait_until(lambda name=name: established(api, name), what=f"CRD {name} to be established")

    def create_namespace(self, prefix: str = "test", *, scheduled: bool = False) -> str:
        """A fresh namespace that is ready for pods (its default service account is there). `scheduled`: a scheduler places them."""
        api, name = self.admin, f"{prefix}-{os.getpid()}-{next(self._names)}-{secrets.token_hex(2)}"
        labels = {SCHEDULED: "true"} if scheduled else {}
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        wait_until(lambda: api.get("v1", "ServiceAccount", name, "default"), what=f"the service account of namespace {name}")
        return name

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace, and its pods at once, since no kubelet confirms their end. Does not wait."""
        api = self.admin
        api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for pod in api.list("v1", "Pod", name):
            api.delete(pod, grace=0)

    # -- sharing between pytest-xdist workers --

    def save(self) -> None:
        """Write down what another process needs to use this control plane."""
        (self.folder / "state.json").write_text(json.dumps({"url": self.url, "token": self.token, "pids": self.pids}))

    @classmethod
    def load(cls, folder: Path) -> ControlPlane:
        """A control plane that another process started."""
        plane, state = cls(folder), json.loads((folder / "state.json").read_text())
        plane.url, plane.token, plane.pids = state["url"], state["token"], state["pids"]
        return plane


def established(api: ApiClient, name: str) -> bool:
    """Whether a CRD's kind is served."""
    crd = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, name) or {}
    conditions: list[dict[str, Any]] = crd.get("status", {}).get("conditions") or []
    if not any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
        return False
    spec = crd["spec"]
    try:  # established is said a moment before every handler serves it
        api.request("GET", f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}")
    except ApiError as error:
        if error.code not in (404, 429):
            raise
        return False
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared_by_workers(folder: Path) -> Iterator[ControlPlane]:
    """The one control plane of all pytest-xdist workers: the first to come starts it, the last to leave stops it."""
    folder.mkdir(exist_ok=True)
    users = folder / "users"
    with _locked(folder / "lock"):
        count = int(users.read_text()) if users.exists() else 0
        if count == 0:
            place = folder / f"plane-{time.time_ns()}"
            plane = ControlPlane(place, die_with_parent=False).start()
            plane.save()
            (folder / "place").write_text(str(place))
        else:
            plane = ControlPlane.load(Path((folder / "place").read_text()))
        users.write_text(str(count + 1))
    try:
        yield plane
    finally:
        with _locked(folder / "lock"):
            left = int(users.read_text()) - 1
            users.write_text(str(left))
            if left == 0:
                plane.pids = json.loads((plane.folder / "state.json").read_text())["pids"]
                plane.stop()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The run's control plane, with this repository's CRDs."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        with shared_by_workers(tmp_path_factory.getbasetemp().parent / "control-plane") as plane:
            yield plane
        return
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane") / "plane").start()
    try:
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="module")
def private_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of one module, whose API server its tests may stop and must start again."""
    plane = ControlPlane(tmp_path_factory.mktemp("private") / "plane").start()
    try:
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace, deleted after the test."""
    name = control_plane.create_namespace()
    yield name
    control_plane.delete_namespace(name)


def main() -> int:
    """`cd tests && python -m support.controlplane DIR`: a control plane for a person to try things on, until Ctrl-C."""
    plane = ControlPlane(Path(sys.argv[1]).resolve()).start()
    try:
        print(f"export KUBECONFIG={plane.kubeconfig}   # Ctrl-C ends it", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        plane.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
