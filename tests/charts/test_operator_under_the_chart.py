"""The operator under the chart's own service account: nothing that it asks for is forbidden, no right of its is for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import helm_python as helm
import pytest
from support import audit
from support.audit import Rule
from support.controlplane import ControlPlane
from support.third_party import chart, kueue
from support.third_party.chart import Values

from . import operator_exercises as exercises
from .operator_exercises import EXERCISES, OPTIONAL, VALUES, Exercise, Scene

pytestmark = pytest.mark.controlplane

STORAGE = {"storage": {"uri": "s3://nnunet", "secretName": "s3"}}
ACCOUNT = "nnunet-operator"
POD_GROUPS = {"features": ["GenericWorkload"], "apis": ["scheduling.k8s.io/v1beta1"]}
"""Of a control plane that offers gang scheduling."""


def granted(values: Values, release: str) -> set[Rule]:
    """The rules of all Roles that the chart binds the operator to."""
    manifests = chart.render(values, release)
    bound = {(m["roleRef"]["kind"], m["roleRef"]["name"]) for m in manifests if m["kind"].endswith("RoleBinding")}
    roles = [m for m in manifests if (m["kind"], m["metadata"]["name"]) in bound]
    assert len({m["metadata"]["name"] for m in roles}) == 2, "its own, and that of the lease"
    rules = [rule for role in roles for rule in role["rules"]]
    return {(group, what, verb) for r in rules for group in r["apiGroups"] for what in r["resources"] for verb in r["verbs"]}


def used_by(
    plane: ControlPlane, release: str, namespace: str, values: Values, folder: Path, wanted: Iterable[Exercise]
) -> set[Rule]:
    """Do these exercises under the chart's rights; no request is refused. The rules that they needed."""
    with chart.operator(plane, release, values, folder) as operator:
        kubeconfig = plane.kubeconfig_for(release, ACCOUNT)
        replica = lambda: chart.operator(plane, release, values, folder)  # noqa: E731
        scene = Scene(plane, namespace, release, operator, kubeconfig, replica)
        with scene.kubelet():
            for exercise in wanted:
                exercise(scene)
    requests = audit.requests(plane.folder, release, ACCOUNT)
    assert [request for request in requests if request.code in (401, 403)] == []
    return {rule for request in requests for rule in request.rules}


def test_in_one_namespace_with_a_role(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """All that it does, and every rule is needed."""
    values = {"watchNamespaces": [namespace], "rbac": {"aggregate": False}, **STORAGE}
    used, rules = used_by(control_plane, namespace, namespace, values, tmp_path, EXERCISES), granted(values, namespace)
    declared = {rule for needed in EXERCISES.values() for rule in needed}
    assert rules - declared == set(), "a rule of the chart without an exercise that needs it (tests/charts/operator_exercises.py)"
    assert rules - used == set(), "rules that were never used"
    assert declared - rules == set(), "an exercise names a rule that the chart does not have"


def test_each_optional_rule_has_an_exercise() -> None:
    """Whatever value the rules of the chart ask about is set by an exercise that needs it."""
    text = (chart.CHART / "templates" / "_helpers.tpl").read_text()
    rules = text.partition('define "nnunet-operator.rules"')[2].partition("{{- define")[0]
    asked = {path.split(".")[0] for path in re.findall(r"\.Values[.)]+([A-Za-z.]+)", rules)}
    assert asked == VALUES.keys(), "tests/charts/operator_exercises.py"
    without, optional = granted({}, "nnunet"), {rule for needed in OPTIONAL.values() for rule in needed}
    assert granted(VALUES, "nnunet") - without == optional
    assert not without & optional
    assert granted({"watchNamespaces": ["a"], "rbac": {"aggregate": False}}, "nnunet") == without, (
        "a Role says what a ClusterRole says"
    )


@pytest.mark.parametrize("empty_control_plane", [POD_GROUPS], indirect=True, ids=["PodGroups"])
def test_in_all_namespaces_with_a_cluster_role_and_every_option(empty_control_plane: ControlPlane, tmp_path: Path) -> None:
    """Its rules are those of a Role, and what the options add."""
    plane, release = empty_control_plane, "nnunet-system"
    with helm.Config(kubeconfig_path=plane.kubeconfig, namespace=release) as config:
        config.install(
            str(chart.CHART), "nnunet-operator", {"replicas": 0, **STORAGE}, create_namespace=True, namespace=release, timeout=60
        )
    kueue.install_crds(plane)
    values = {"replicas": 0, **STORAGE, **VALUES}
    used = used_by(plane, release, plane.create_namespace(), values, tmp_path, [exercises.the_whole_chain, *OPTIONAL])
    assert {rule for needed in OPTIONAL.values() for rule in needed} <= used


def holder(plane: ControlPlane, release: str) -> str:
    """Who holds the Lease."""
    lease = plane.admin.get("coordination.k8s.io/v1", "Lease", release, "nnunet-operator")
    assert lease is not None
    return str(lease["spec"]["holderIdentity"])


def test_in_its_own_container(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """As on a node: a read-only root, a user without a name, and the cluster's address and token where every pod finds them."""
    values = {"watchNamespaces": [namespace], "rbac": {"aggregate": False}, **STORAGE}
    with chart.operator(control_plane, namespace, values, tmp_path, contained=True) as operator:
        kubeconfig = control_plane.kubeconfig_for(namespace, ACCOUNT)
        scene = Scene(control_plane, namespace, namespace, operator, kubeconfig, lambda: operator)
        with scene.kubelet():
            exercises.the_whole_chain(scene)
        assert operator.metric("nnunet_operator_errors_total") == 0
        assert operator.metric("nnunet_operator_api_requests_total", code="403") == 0
        assert operator.metric("nnunet_operator_api_requests_total") > 0
        for complaint in ("Read-only file system", "Permission denied", "getpwuid"):
            assert complaint not in operator.log
        assert holder(control_plane, namespace) == "nnunet-operator-0"
        operator.stop()
        assert operator.process.returncode == 0, operator.log[-2000:]
        assert holder(control_plane, namespace) == "", "another replica would wait for the Lease to run out"


def test_without_its_role_it_says_what_is_missing(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    values = {"watchNamespaces": ["kube-public"], "rbac": {"aggregate": False, "create": False}}
    operator = chart.operator(control_plane, namespace, values, tmp_path).start(ready=False)
    assert operator.process.wait(60) == 78
    assert "MissingPermissions" in operator.log
    assert "create jobs.batch in namespace kube-public" in operator.log
