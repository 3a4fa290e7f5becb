"""The API server or etcd is away, or does not know our kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_trainer.contract.faults import ExitCode
from support.apiclient import wait_until
from support.controlplane import ControlPlane
from support.faults import outages
from support.operator import OperatorProcess
from support.pretend import PretendKubelet, wait

from ..conftest import API_VERSION, STORAGE, condition, dataset, leading, plans

# One group: its control plane is started once, not by each worker.
pytestmark = [pytest.mark.controlplane, pytest.mark.xdist_group("private-control-plane")]


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
        wait_until(lambda: "does not exist" in plans_say(), what=lambda: f"the Plans to hear of it: {plans_say()}")
        assert operator.process.poll() is None, "the operator ended during the outage"
        assert operator.metric("nnunet_operator_ghosts_total", kind="Dataset") == 1
        wait_until(operator.is_ready, what=lambda: f"readiness: {operator.readiness()}")


def test_a_cluster_that_was_restored_from_a_backup_ends_the_operator(private_control_plane: ControlPlane, tmp_path: Path) -> None:
    plane = private_control_plane
    api, namespace = plane.admin, plane.create_namespace()
    api.apply(dataset(namespace, "old"))
    copy = plane.back_up()
    with OperatorProcess(plane, tmp_path, namespaces=[namespace], environment=STORAGE) as operator:
        for number in range(40):
            made = api.apply(dataset(namespace, f"new-{number}"))
        seen = lambda: operator.metric("nnunet_operator_objects", kind="Dataset")  # noqa: E731
        wait_until(lambda: seen() == 41, what=lambda: f"all to be seen, not {seen()}")
        plane.restore(copy)
        assert operator.process.wait(90) == ExitCode.TRY_AGAIN
        assert "went back in time" in operator.log
        assert "Traceback" not in operator.log
    now = api.apply(dataset(namespace, "later"))["metadata"]
    assert int(now["resourceVersion"]) < int(made["metadata"]["resourceVersion"]), "it was not restored"
    with OperatorProcess(plane, tmp_path, namespaces=[namespace], environment=STORAGE) as operator:
        for name in ("old", "later"):
            wait_until(
                lambda name=name: condition(api.get(API_VERSION, "Dataset", namespace, name)), what=f"{name} to be reconciled"
            )
        seen = lambda: operator.metric("nnunet_operator_objects", kind="Dataset")  # noqa: E731
        wait_until(lambda: seen() == 2, what=lambda: f"what is there to be seen, not {seen()}")


def test_a_leader_that_cannot_renew_ends(private_control_plane: ControlPlane, tmp_path: Path) -> None:
    plane = private_control_plane
    with OperatorProcess(plane, tmp_path, namespaces=["default"], arguments=["--leader-election"]) as operator:
        wait_until(lambda: leading([operator]), what="it to lead")  # whether it lists or works by then: both must end
        plane.stop_apiserver()
        try:
            assert operator.process.wait(60) == ExitCode.TRY_AGAIN
        finally:
            plane.start_apiserver()


def test_nothing_is_lost_when_the_api_server_is_killed(private_control_plane: ControlPlane, tmp_path: Path) -> None:
    count = outages.api_server_killed(private_control_plane, tmp_path, runs=3, kills=1, seed=1)
    assert (count.tried, count.lost, count.doubled) == (2, [], [])


def test_nothing_is_lost_while_etcd_is_away(private_control_plane: ControlPlane, tmp_path: Path) -> None:
    count = outages.etcd_away(private_control_plane, tmp_path, runs=3, seconds=2, seed=1)
    assert (count.tried, count.lost, count.doubled) == (1, [], [])
