"""`retention: Delete` on the real API server: the finalizer, the Job that deletes, a namespace that is being deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nnunet_operator.cluster.preflight import PERMISSIONS
from nnunet_operator.manifests import names
from support.apiclient import ApiClient, Manifest, wait_until
from support.controlplane import ControlPlane
from support.operator import OperatorProcess
from support.pretend import PretendKubelet, fail, succeed

from .conftest import API_VERSION, STORAGE, StartOperator, condition, dataset, plans, training_run

pytestmark = pytest.mark.controlplane


def found(api: ApiClient, namespace: str, name: str = "run") -> Manifest | None:
    return api.get(API_VERSION, "TrainingRun", namespace, name)


def trained(api: ApiClient, namespace: str, **spec: object) -> Manifest:
    """A run with `retention: Delete` that is Ready."""
    run = training_run(namespace, retention="Delete", **spec)
    for manifest in (dataset(namespace), plans(namespace), run):
        api.apply(manifest)
    wait_until(lambda: condition(found(api, namespace)).get("status") == "True", what="the run to be Ready")
    return run


def test_folds_are_added_and_all_results_go_before_the_run_does(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api, operator = control_plane.admin, start_operator()
    with PretendKubelet(api, namespace, succeed):
        run = trained(api, namespace, folds=[0])
        stored = found(api, namespace)
        assert stored is not None
        assert stored["metadata"]["finalizers"] == [names.RESULTS_FINALIZER]
        assert {**stored["spec"], **run["spec"]} == stored["spec"], "as it was written"
        writers = [entry for entry in stored["metadata"]["managedFields"] if entry["manager"] != "tests"]
        assert not [entry for entry in writers if "f:spec" in entry["fieldsV1"]], "no operator writes a spec"
        api.patch(run, {"spec": {"folds": [0, "1"]}})

        def done() -> bool:
            status = (found(api, namespace) or {}).get("status", {})
            return status.get("foldsDone") == "2/2" and condition(found(api, namespace)).get("status") == "True"

        wait_until(done, what=lambda: found(api, namespace))
        last = found(api, namespace)
        assert last is not None
        assert last["status"]["folds"][0] == stored["status"]["folds"][0], "fold 0 was not trained again"
        assert last["status"]["meanDice"] == 0.81
        api.delete(run)
        wait_until(lambda: found(api, namespace) is None, what=lambda: condition(found(api, namespace)))
    orders = [order for order in operator.log.splitlines() if "created Job" in order and "-delete-0" in order]
    assert len(orders) == 1

    def said() -> list[Manifest]:
        return [event for event in api.list("v1", "Event", namespace) if event["reason"] == "ResultsDeleted"]

    wait_until(said, what="the event, which comes after the last change of the object")
    assert [event["message"] for event in said()] == [f"7 files deleted below s3://nnunet/runs/{namespace}/run"]
    assert operator.metric("nnunet_operator_api_requests_total", code="403") == 0


def test_a_deletion_that_fails_is_told_and_retain_lets_it_go(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api = control_plane.admin
    start_operator()
    refuses = fail("StorageAccessDenied", "s3://nnunet refuses to delete.", code=78)
    with PretendKubelet(api, namespace, lambda order, pod: (refuses if order["step"] == "delete_results" else succeed)(order, pod)):
        run = trained(api, namespace)
        api.delete(run)

        def told() -> bool:
            return condition(found(api, namespace), "Stalled").get("reason") == "StorageAccessDenied"

        wait_until(told, what=lambda: found(api, namespace))
        message = condition(found(api, namespace))["message"]
        assert "set spec.retention to Retain" in message
        api.patch(run, {"spec": {"retention": "Retain"}})
        wait_until(lambda: found(api, namespace) is None, what="the run to be gone")


@pytest.fixture
def cluster_wide(control_plane: ControlPlane, namespace: str) -> Iterator[Path]:
    """A kubeconfig with the operator's rights everywhere: a Role goes with its namespace."""
    api, home = control_plane.admin, control_plane.create_namespace()
    rbac, name = "rbac.authorization.k8s.io", f"operator-{namespace}"
    rules = [
        {"apiGroups": [kind.group], "resources": [f"{kind.plural}/{sub}" if sub else kind.plural], "verbs": list(verbs)}
        for kind, sub, verbs in PERMISSIONS
    ]
    made = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator", "namespace": home}},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": home}],
        },
    ]
    for manifest in made:
        api.apply(manifest)
    yield control_plane.kubeconfig_for(home, "operator")
    for manifest in made[1:]:
        api.delete(manifest)
    control_plane.delete_namespace(home)


def test_a_namespace_that_is_deleted_is_gone_and_makes_no_job(
    control_plane: ControlPlane, cluster_wide: Path, tmp_path: Path
) -> None:
    api, namespace = control_plane.admin, control_plane.create_namespace()
    operator = OperatorProcess(control_plane, tmp_path, namespaces=[namespace], kubeconfig=cluster_wide, environment=STORAGE)
    with operator, PretendKubelet(api, namespace, succeed):
        trained(api, namespace)
        # A namespace with pods is looked at again only after half of their grace.
        wait_until(lambda: not api.list("v1", "Pod", namespace), what="the pods to go with their Jobs")
        api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        wait_until(
            lambda: api.get("v1", "Namespace", None, namespace) is None,
            what=lambda: (api.get("v1", "Namespace", None, namespace), operator.log[-2000:]),
        )
        assert "-delete-0" not in operator.log
