"""The operator works under the chart's own service account: nothing that it asks for is forbidden."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml
from support import chart
from support.apiclient import Manifest, wait_until
from support.controlplane import ROOT, ControlPlane
from support.operator import OperatorProcess
from support.pretend import PretendKubelet, succeed

pytestmark = pytest.mark.controlplane

API_VERSION = "nnunet.dev/v1alpha1"
STORAGE = {"storage": {"uri": "s3://nnunet", "secretName": "s3"}}


def quickstart(namespace: str) -> list[Manifest]:
    files = sorted((ROOT / "examples" / "quickstart").glob("*.yaml"))
    found = [manifest for file in files for manifest in yaml.safe_load_all(file.read_text()) if manifest]
    random.Random(11).shuffle(found)
    return [{**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}} for manifest in found]


def the_whole_chain_ends_ready(plane: ControlPlane, namespace: str, operator: OperatorProcess) -> None:
    api, manifests = plane.admin, quickstart(namespace)

    def ready(manifest: Manifest) -> Manifest:
        found = api.get(API_VERSION, manifest["kind"], namespace, manifest["metadata"]["name"]) or {}
        conditions: list[dict[str, Any]] = found.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == "Ready"), {})

    with PretendKubelet(api, namespace, succeed):
        api.apply_all(manifests)
        for manifest in manifests:
            wait_until(
                lambda m=manifest: ready(m).get("status") == "True",
                timeout=90,
                what=lambda m=manifest: (
                    f"{m['kind']} {m['metadata']['name']} to be Ready, it is {ready(m)}; {operator.log[-2000:]}"
                ),
            )
    assert operator.metric("nnunet_operator_errors_total") == 0
    assert operator.metric("nnunet_operator_api_requests_total", code="403") == 0
    assert operator.metric("nnunet_operator_api_requests_total") > 0
    assert api.list("v1", "Event", namespace), "nothing was said to people"


def test_in_one_namespace_with_a_role(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    values = {"watchNamespaces": [namespace], "rbac": {"aggregate": False}, **STORAGE}
    with chart.operator(control_plane, namespace, values, tmp_path) as operator:
        the_whole_chain_ends_ready(control_plane, namespace, operator)
        lease = control_plane.admin.get("coordination.k8s.io/v1", "Lease", namespace, "nnunet-operator")
        assert lease is not None, "it leads by the lease of its own namespace"
        assert lease["spec"]["holderIdentity"]


def test_in_all_namespaces_with_a_cluster_role(empty_control_plane: ControlPlane, tmp_path: Path) -> None:
    plane, release = empty_control_plane, "nnunet-system"
    with helm.Config(kubeconfig_path=plane.kubeconfig, namespace=release) as config:
        config.install(
            str(chart.CHART), "nnunet-operator", {"replicas": 0, **STORAGE}, create_namespace=True, namespace=release, timeout=60
        )
    with chart.operator(plane, release, {"replicas": 0, **STORAGE}, tmp_path) as operator:
        the_whole_chain_ends_ready(plane, plane.create_namespace(), operator)


def test_in_its_own_container(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """As on a node: a read-only root, a user without a name, and the cluster's address and token where every pod finds them."""
    values = {"watchNamespaces": [namespace], "rbac": {"aggregate": False}, **STORAGE}
    with chart.operator(control_plane, namespace, values, tmp_path, contained=True) as operator:
        the_whole_chain_ends_ready(control_plane, namespace, operator)
        for complaint in ("Read-only file system", "Permission denied", "getpwuid"):
            assert complaint not in operator.log
        lease = control_plane.admin.get("coordination.k8s.io/v1", "Lease", namespace, "nnunet-operator")
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == "nnunet-operator-0"
        operator.stop()
        assert operator.process.returncode == 0, operator.log[-2000:]


def test_without_its_role_it_says_what_is_missing(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    values = {"watchNamespaces": ["kube-public"], "rbac": {"aggregate": False, "create": False}}
    operator = chart.operator(control_plane, namespace, values, tmp_path).start(ready=False)
    assert operator.process.wait(60) == 78
    assert "MissingPermissions" in operator.log
    assert "create jobs.batch in namespace kube-public" in operator.log
