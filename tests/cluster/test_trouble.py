"""Missing rights, lost watches, lost leadership, silent pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from nnunet_trainer.contract import codec, pod
from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.progress import Progress
from support.apiclient import wait_until
from support.controlplane import ControlPlane
from support.operator import OperatorProcess
from support.pretend import PretendKubelet, succeed, wait

from .conftest import API_VERSION, STORAGE, StartOperator, condition, dataset, grant, plans, training_run

pytestmark = pytest.mark.controlplane


def test_missing_rights_are_named_one_by_one(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    kubeconfig = grant(control_plane, namespace, without=("create", "jobs"))
    operator = OperatorProcess(control_plane, tmp_path, namespaces=[namespace], kubeconfig=kubeconfig).start(ready=False)
    assert operator.process.wait(60) == ExitCode.BAD_CONFIGURATION
    assert f"create jobs.batch in namespace {namespace}" in operator.log
    assert "delete jobs.batch" not in operator.log
    assert "Traceback" not in operator.log


def test_no_cluster_is_one_message(control_plane: ControlPlane, tmp_path: Path) -> None:
    operator = OperatorProcess(control_plane, tmp_path, kubeconfig=tmp_path / "none").start(ready=False)
    assert operator.process.wait(60) == ExitCode.BAD_USAGE
    assert str(tmp_path / "none") in operator.log
    assert "Traceback" not in operator.log


def test_a_cluster_without_our_kinds_is_told_how_to_get_them(private_control_plane: ControlPlane, tmp_path: Path) -> None:
    plane = private_control_plane
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "trainingruns.nnunet.dev"},
    }
    plane.admin.delete(crd)
    try:
        wait_until(lambda: "trainingruns" not in str(plane.admin.request("GET", f"/apis/{API_VERSION}")), what="the CRD to be gone")
        operator = OperatorProcess(plane, tmp_path).start(ready=False)
        assert operator.process.wait(60) == ExitCode.BAD_CONFIGURATION
        assert "does not know TrainingRun" in operator.log
        assert "kubectl apply --server-side -f crds/" in operator.log
    finally:
        plane.install_crds()


@contextmanager
def progress_server(address: str, answer: bytes) -> Iterator[list[str]]:
    """A pod's `/progress`; yields the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, pod.PROGRESS_PORT), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_progress_is_heard_and_a_lying_pod_does_no_harm(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api, operator = control_plane.admin, start_operator()
    told = Progress(step="train", phase="training", done=37, total=250, epoch=37, epochs=250, ema_pseudo_dice=0.871)
    address = "127.1.77.1"
    with PretendKubelet(api, namespace, lambda order, pod: None if order["step"] == "train" else succeed(order, pod), ip=address):
        for manifest in (training_run(namespace), plans(namespace), dataset(namespace)):
            api.apply(manifest)

        def fold() -> dict[str, object]:
            found = api.get(API_VERSION, "TrainingRun", namespace, "run") or {}
            return next(iter((found.get("status") or {}).get("folds") or []), {})

        def unreadable() -> float:
            return operator.metric("nnunet_operator_progress_requests_total", outcome="unreadable")

        with progress_server(address, codec.dumps(told).encode()) as asked:
            wait_until(lambda: fold().get("epoch") == 37, timeout=60, what=lambda: f"epoch 37 in the status: {fold()}")
        assert set(asked) == {"/progress"}
        before = unreadable()
        with progress_server(address, json.dumps({"step": "train", "epoch": "x" * 100_000}).encode()):
            wait_until(lambda: unreadable() > before, what="the lie to be seen")
        assert fold()["epoch"] == 37


def test_a_job_that_a_quota_forbids_is_said_and_made_once_there_is_room(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api, operator = control_plane.admin, start_operator()
    meta = {"name": "no-jobs", "namespace": namespace}
    quota = api.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"count/jobs.batch": "0"}}})
    # Here is no quota controller to write this; admission goes by it.
    api.patch(quota, {"status": {"hard": {"count/jobs.batch": "0"}, "used": {"count/jobs.batch": "0"}}}, sub="status")
    with PretendKubelet(api, namespace, succeed):
        api.apply(dataset(namespace))

        def found() -> dict[str, object]:
            return api.get(API_VERSION, "Dataset", namespace, "brain") or {}

        wait_until(lambda: condition(found()).get("reason") == "ChildRefused", what=lambda: f"the refusal: {found()}")
        assert "exceeded quota: no-jobs" in condition(found())["message"]
        assert condition(found(), "Stalled")["status"] == "True"

        def forbidden() -> float:
            return operator.metric("nnunet_operator_errors_total", kind="Dataset", cause="Forbidden")

        written, tried = operator.metric("nnunet_operator_status_writes_total"), forbidden()
        wait_until(lambda: forbidden() > tried, what="another try")
        assert operator.metric("nnunet_operator_status_writes_total") == written, "the same refusal is written once"
        told = [event for event in api.list("v1", "Event", namespace) if event["reason"] == "ChildRefused"]
        assert [(event["type"], event["count"]) for event in told] == [("Warning", 1)]
        api.delete(quota)
        wait_until(lambda: condition(found()).get("status") == "True", timeout=60, what=lambda: f"it to heal: {found()}")


def test_deletions_that_no_watch_told_of_are_noticed(private_control_plane: ControlPlane, tmp_path: Path) -> None:
    plane = private_control_plane
    api, namespace = plane.admin, plane.create_namespace()
    with OperatorProcess(plane, tmp_path, namespaces=[namespace], environment=STORAGE) as operator:
        with PretendKubelet(api, namespace, wait) as kubelet:
            api.apply(dataset(namespace))
            api.apply(plans(namespace))
            wait_until(lambda: kubelet.orders, what="a running pod")
            wait_until(lambda: condition(api.get(API_VERSION, "Plans", namespace, "brain")), what="the Plans to wait")
        with plane.while_away() as elsewhere:
            elsewhere.delete(dataset(namespace))
            elsewhere.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later", "namespace": namespace}})
        plans_say = lambda: condition(api.get(API_VERSION, "Plans", namespace, "brain")).get("message", "")  # noqa: E731
        wait_until(lambda: "does not exist" in plans_say(), timeout=60, what=lambda: f"the Plans to hear of it: {plans_say()}")
        assert operator.process.poll() is None, "the operator ended during the outage"
        assert operator.metric("nnunet_operator_ghosts_total", kind="Dataset") == 1
        wait_until(operator.is_ready, what=lambda: f"readiness: {operator.readiness()}")


def leading(operators: list[OperatorProcess]) -> list[OperatorProcess]:
    return [one for one in operators if one.process.poll() is None and one.metric("nnunet_operator_leading") == 1]


def test_one_of_two_leads_and_the_other_takes_over(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    flags = ("--leader-election", "--lease-namespace", namespace)
    first = start_operator(*flags, POD_NAME="first")
    wait_until(lambda: leading([first]), what="the first to lead")
    second = start_operator(*flags, POD_NAME="second")
    assert leading([first, second]) == [first]
    first.stop()  # gives the lease away
    wait_until(lambda: leading([second]), timeout=10, what="the second to lead")
    third = start_operator(*flags, POD_NAME="third")
    second.kill()  # cannot give it away
    api = control_plane.admin
    with PretendKubelet(api, namespace, succeed):
        api.apply(dataset(namespace))
        wait_until(lambda: leading([third]), timeout=30, what="the third to lead")
        wait_until(
            lambda: condition(api.get(API_VERSION, "Dataset", namespace, "brain")).get("status") == "True",
            what="the third to do the work",
        )
    lease = api.get("coordination.k8s.io/v1", "Lease", namespace, "nnunet-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "third"
    assert lease["spec"]["leaseTransitions"] == 2


def test_a_leader_that_cannot_renew_ends(private_control_plane: ControlPlane, tmp_path: Path) -> None:
    plane = private_control_plane
    with OperatorProcess(plane, tmp_path, namespaces=["default"], arguments=["--leader-election"]) as operator:
        wait_until(lambda: leading([operator]), what="it to lead")  # whether it lists or works by then: both must end
        plane.stop_apiserver()
        try:
            assert operator.process.wait(30) == ExitCode.TRY_AGAIN
        finally:
            plane.start_apiserver()
