"""`nnunet-operator diagnose` on the real API server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nnunet_operator.api.schema import crds
from nnunet_operator.cli import main
from nnunet_operator.cluster.diagnosis import storage
from nnunet_operator.cluster.preflight import WORKLOADS
from nnunet_trainer.contract.faults import ExitCode
from support.apiclient import wait_until
from support.controlplane import ControlPlane
from support.ports import free_port
from support.pretend import PretendKubelet, fail, succeed

from ..conftest import StartOperator, condition, dataset, grant, training_run

pytestmark = pytest.mark.controlplane

API_VERSION = "nnunet.dev/v1alpha1"


class Diagnosis:
    """What the command said."""

    def __init__(self, status: int, data: dict[str, Any]) -> None:
        self.status, self.data = status, data

    def of(self, check: str, about: str = "") -> list[tuple[str, str]]:
        """Level and message of a check's findings."""
        found = [f for f in self.data["findings"] if f["check"] == check and about in f["about"]]
        assert all(f["hint"] for f in found if f["level"] in ("problem", "warning")), found
        return [(f["level"], f["message"]) for f in found]

    def one(self, check: str, about: str = "") -> tuple[str, str]:
        """The only one."""
        (found,) = self.of(check, about)
        return found


@pytest.fixture
def diagnose(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command in this process, under a kubeconfig."""
    for name in ("NNUNET_NAMESPACES", "NNUNET_STORAGE_URI", "POD_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)

    def run(kubeconfig: Path, *arguments: str) -> Diagnosis:
        capsys.readouterr()
        status = main(["diagnose", "--kubeconfig", str(kubeconfig), "-o", "json", *arguments])
        return Diagnosis(status, json.loads(capsys.readouterr().out))

    return run


def test_an_installation_that_is_well(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator, diagnose: Any, bucket: str
) -> None:
    api, rights = control_plane.admin, grant(control_plane, namespace)
    start_operator("--leader-election", "--lease-namespace", namespace, POD_NAME="replica-7")
    with PretendKubelet(api, namespace, succeed):
        api.apply(dataset(namespace, storage={"uri": "s3://there/x", "endpoint": bucket}, source={"uri": "s3://there/raw"}))
        wait_until(
            lambda: condition(api.get(API_VERSION, "Dataset", namespace, "brain")).get("status") == "True", what="it to be Ready"
        )
    found = diagnose(rights, "-n", namespace, "--lease-namespace", namespace)  # as the operator itself would ask
    assert found.status == 0, found.data
    assert {f["level"] for f in found.data["findings"]} == {"ok"}
    level, message = found.one("operator")
    assert (level, "held by replica-7 for" in message) == ("ok", True)
    assert found.one("objects") == ("ok", "1 objects, 0 findings")
    assert found.one("permissions")[0] == "ok"
    assert len(found.of("definitions")) == 4
    assert "credentials are the Jobs' own" in found.one("storage", "s3://there")[1]
    admin = diagnose(control_plane.kubeconfig, "-n", namespace, "--lease-namespace", namespace)
    assert {message for _, message in admin.of("definitions")} == {"it is that of this version"}


def test_what_does_not_go_on(control_plane: ControlPlane, namespace: str, start_operator: StartOperator, diagnose: Any) -> None:
    api, arguments = control_plane.admin, ("-n", namespace, "--lease-namespace", namespace, "--patience", "0")
    operator = start_operator()
    with PretendKubelet(api, namespace, fail("InvalidCases", "case_003: the label holds the value 7")):
        api.apply(dataset(namespace))
        api.apply(training_run(namespace))
        for kind, name, reason in (("Dataset", "brain", "InvalidCases"), ("TrainingRun", "run", "WaitingForPlans")):
            wait_until(
                lambda kind=kind, name=name, reason=reason: (
                    condition(api.get(API_VERSION, kind, namespace, name)).get("reason") == reason
                ),
                what=reason,
            )
    operator.stop()
    held = training_run(namespace, "held", suspend=True)
    held["metadata"]["finalizers"] = ["example.org/keeps"]
    api.delete(api.create(held))
    found = diagnose(control_plane.kubeconfig, *arguments)
    assert found.status == 1
    level, message = found.one("objects", "/brain")
    assert (level, "case_003: the label holds the value 7" in message) == ("problem", True)
    wait_until(lambda: diagnose(control_plane.kubeconfig, *arguments).of("objects", "/held"), what="a second to pass")
    found = diagnose(control_plane.kubeconfig, *arguments)
    assert "example.org/keeps hold it" in found.one("objects", "/held")[1]
    assert found.one("objects", "/run")[0] == "warning"
    assert "WaitingForPlans" in found.one("objects", "/run")[1]
    level, message = found.one("operator")
    assert (level, "no operator with leader election has run" in message) == ("problem", True)
    api.patch(held, {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("asked", [False, True])
def test_rights_that_settings_ask_for(
    control_plane: ControlPlane, namespace: str, diagnose: Any, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    arguments = ["-n", namespace, "--lease-namespace", namespace, "--service-account", f"{namespace}/operator"]
    grant(control_plane, namespace)
    if asked:
        monkeypatch.setenv("NNUNET_KUEUE_WORKLOAD_SECONDS", "10")
    found = diagnose(control_plane.kubeconfig, *arguments)
    missing = ("problem", f"may not list workloads.kueue.x-k8s.io in namespace {namespace}")
    assert found.of("permissions") == [missing] if asked else found.one("permissions")[0] == "ok"
    grant(control_plane, namespace, WORKLOADS)
    assert diagnose(control_plane.kubeconfig, *arguments).one("permissions")[0] == "ok"


def test_rights_that_are_missing(control_plane: ControlPlane, namespace: str, diagnose: Any) -> None:
    rights = grant(control_plane, namespace, without=("create", "jobs"))
    arguments = ("-n", namespace, "--lease-namespace", namespace)
    own = diagnose(rights, *arguments)
    assert own.of("permissions") == [("problem", f"may not create jobs.batch in namespace {namespace}")]
    account = f"{namespace}/operator"
    assert diagnose(control_plane.kubeconfig, *arguments, "--service-account", account).of("permissions") == own.of("permissions")
    assert diagnose(rights, *arguments, "--service-account", account).one("permissions")[0] == "unknown"
    everywhere = diagnose(rights)
    assert everywhere.one("operator")[0] == "unknown"
    assert {level for level, _ in everywhere.of("objects")[1:]} == {"unknown"}


def test_definitions_of_other_versions(private_control_plane: ControlPlane, diagnose: Any) -> None:
    plane, api = private_control_plane, private_control_plane.admin
    rights = grant(plane, "default")
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    older, newer, other = (crds.crd(name) for name in ("Dataset", "Plans", "PlanTransfer"))
    for crd, change in ((older, "older"), (newer, "newer"), (other, "other")):
        spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        if change == "older":
            del spec["properties"]["splits"], spec["x-kubernetes-validations"]
        elif change == "newer":
            spec["properties"]["tomorrow"] = {"type": "string"}
        else:
            spec["properties"]["plansName"]["maxLength"] = 7
        api.apply(crd)
    api.delete({**kind, "metadata": {"name": "trainingruns.nnunet.dev"}})
    wait_until(
        lambda: api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "trainingruns.nnunet.dev") is None,
        what="the definition to be gone",
    )
    wanted = {
        "datasets": ("problem", "it lacks spec.splits;"),
        "plans": ("warning", "it has spec.tomorrow;"),
        "plantransfers": ("warning", "other rules, limits or texts for spec.plansName"),
        "trainingruns": ("problem", "it is not installed"),
    }
    found = diagnose(plane.kubeconfig)
    assert found.status == 1
    for plural, (level, said) in wanted.items():
        one = found.one("definitions", f"{plural}.nnunet.dev")
        assert (one[0], said in one[1]) == (level, True), one
    # Who may not read definitions sees the fields that they serve; the server publishes them a moment later.
    by_discovery = {**wanted, "plantransfers": ("ok", "has the fields of this version"), "trainingruns": ("problem", "without it")}

    def seen() -> bool:
        said = diagnose(rights, "-n", "default")
        return all(
            (one[0], part in one[1]) == (level, True)
            for plural, (level, part) in by_discovery.items()
            for one in [said.one("definitions", f"{plural}.nnunet.dev")]
        )

    wait_until(seen, what=lambda: f"it to be seen: {diagnose(rights, '-n', 'default').of('definitions')}")


ANSWERS = {
    "/there": (403, "AccessDenied"),
    "/gone": (404, "NoSuchBucket"),
    "/moved": (301, "PermanentRedirect"),
    "/ill": (503, "SlowDown"),
}


class _Store(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert "Authorization" not in self.headers
        status, code = ANSWERS[self.path.partition("?")[0]]
        body = f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def bucket() -> Iterator[str]:
    """The address of a store with one bucket that is there."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_storage_without_credentials(
    control_plane: ControlPlane, namespace: str, diagnose: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = control_plane.admin
    monkeypatch.setattr(storage, "TIMEOUT", aiohttp.ClientTimeout(total=60))  # a slow machine is no store that does not answer
    api.apply(
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": namespace},
            "data": {"ca.crt": Path(control_plane.ca).read_text()},
        }
    )  # fmt: skip
    api.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "no-ca", "namespace": namespace}, "data": {"ca.crt": "x"}}
    )
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    meta = {"name": "there", "namespace": namespace}
    api.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": claim})
    closed, tls = f"http://127.0.0.1:{free_port()}", control_plane.url
    places: dict[str, tuple[dict[str, Any], str, str]] = {
        "there": ({"uri": "s3://there/x", "endpoint": bucket}, "ok", "403 AccessDenied"),
        "gone": ({"uri": "s3://gone/x", "endpoint": bucket}, "problem", "no such bucket"),
        "moved": ({"uri": "s3://moved/x", "endpoint": bucket}, "warning", "another region"),
        "ill": ({"uri": "s3://ill/x", "endpoint": bucket}, "warning", "503 SlowDown"),
        "closed": ({"uri": "s3://closed/x", "endpoint": closed}, "warning", "no answer from here"),
        "untrusted": ({"uri": "s3://untrusted/x", "endpoint": tls}, "problem", "not trusted"),
        "trusted": ({"uri": "s3://trusted/x", "endpoint": tls, "caConfigMap": "ca"}, "ok", "it answers (40"),
        "no-pem": ({"uri": "s3://no-pem/x", "endpoint": tls, "caConfigMap": "no-ca"}, "problem", "holds no certificates"),
        "no-map": ({"uri": "s3://no-map/x", "endpoint": tls, "caConfigMap": "none"}, "problem", "no such ConfigMap"),
        "upper": ({"uri": "s3://UPPER_/x"}, "problem", "no bucket of Amazon's"),
        "claim": ({"uri": "pvc://there/x"}, "ok", "the claim is Pending"),
        "no-claim": ({"uri": "pvc://nowhere/x"}, "problem", "no such PersistentVolumeClaim"),
    }
    for name, (spec, _, _) in places.items():
        api.apply(dataset(namespace, name, storage=spec, source={"uri": f"{spec['uri']}/raw"}))
    found = diagnose(control_plane.kubeconfig, "-n", namespace)
    for spec, level, said in places.values():
        one = found.one("storage", spec["uri"].removesuffix("/x") + " ")
        assert (one[0], said in one[1]) == (level, True), one
    unread = diagnose(grant(control_plane, namespace, without=("get", "configmaps")), "-n", namespace)
    assert "which Jobs trust, may not be read" in unread.one("storage", "s3://trusted ")[1]
    assert unread.one("storage", "pvc://there ")[0] == "unknown"


def test_no_cluster_is_one_message(control_plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = tmp_path / "kubeconfig"
    gone.write_text(control_plane.kubeconfig.read_text().replace(control_plane.url, f"https://127.0.0.1:{free_port()}"))
    assert main(["diagnose", "--kubeconfig", str(gone)]) == ExitCode.IO_ERROR
    assert "does not answer" in capsys.readouterr().err
    gone.write_text(control_plane.kubeconfig.read_text().replace(control_plane.token, "another"))
    assert main(["diagnose", "--kubeconfig", str(gone)]) == ExitCode.IO_ERROR
    assert "401" in capsys.readouterr().err
    assert main(["diagnose", "--kubeconfig", str(tmp_path / "none")]) == ExitCode.BAD_USAGE
    assert str(tmp_path / "none") in capsys.readouterr().err
    assert main(["diagnose", "--service-account", "x", "--kubeconfig", str(control_plane.kubeconfig)]) == ExitCode.BAD_USAGE
    assert "NAMESPACE/NAME" in capsys.readouterr().err
