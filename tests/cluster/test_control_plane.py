"""The control plane that the other tests stand on does what they trust it to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.apiclient import ApiClient, ApiError, wait_until
from support.controlplane import ROOT, ControlPlane, assets

pytestmark = pytest.mark.controlplane

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "one"},
    "spec": {
        "backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none", "command": ["none"]}]}},
    },
}


def test_a_job_gets_a_pod_that_is_bound_to_the_node(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.admin
    job = api.create({**JOB, "metadata": {"name": "one", "namespace": namespace}})
    pod = wait_until(lambda: next(iter(api.list("v1", "Pod", namespace)), None), what="the Job's pod")
    assert pod["spec"]["nodeName"] == "node-0"
    api.patch(pod, {"status": {"phase": "Succeeded"}}, sub="status")
    wait_until(
        lambda: (api.get("batch/v1", "Job", namespace, "one") or {}).get("status", {}).get("succeeded") == 1,
        what="the Job to succeed",
    )
    api.delete(job)
    wait_until(lambda: not api.list("v1", "Pod", namespace), what="the garbage collector to delete the pod")


def test_a_service_account_may_do_only_what_its_role_says(control_plane: ControlPlane, namespace: str) -> None:
    admin = control_plane.admin
    client = control_plane.client_for(namespace, "default")
    with pytest.raises(ApiError, match="403"):
        client.list("v1", "ConfigMap", namespace)
    role = {"name": "reader", "namespace": namespace}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    admin.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": role, "rules": rules})
    admin.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": role,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
        }
    )
    wait_until(lambda: _allowed(client, namespace), what="the Role to be heard of")


def _allowed(client: ApiClient, namespace: str) -> bool:
    try:
        client.list("v1", "ConfigMap", namespace)
    except ApiError as error:
        if error.code != 403:
            raise
        return False
    return True


def test_missing_binaries_are_an_error_that_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"kube-apiserver.*tests/controlplane/build\.sh"):
        assets()
    assert (ROOT / "tests" / "controlplane" / "build.sh").exists()
