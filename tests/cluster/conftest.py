"""The operator's own rights, and manifests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nnunet_operator.cluster.preflight import LEASE, PERMISSIONS, Permission
from support.apiclient import Manifest, wait_until
from support.controlplane import ROOT, ControlPlane
from support.operator import OperatorProcess

STORAGE = {"NNUNET_STORAGE_URI": "s3://nnunet", "NNUNET_STORAGE_SECRET": "s3", "NNUNET_TRAINER_IMAGE": "example/trainer:1"}
API_VERSION = "nnunet.dev/v1alpha1"

StartOperator = Callable[..., OperatorProcess]


def grant(plane: ControlPlane, namespace: str, *more: Permission, without: tuple[str, str] | None = None) -> Path:
    """A kubeconfig of a service account that may do in a namespace what the operator says it needs, and nothing else.

    Args:
        more: permissions that a setting calls for.
        without: a verb and a resource to leave out.
    """
    api, meta = plane.admin, {"name": "operator", "namespace": namespace}
    rules = [
        {"apiGroups": [kind.group], "resources": [f"{kind.plural}/{sub}" if sub else kind.plural], "verbs": [verb]}
        for kind, sub, verbs in (*PERMISSIONS, LEASE, *more)
        for verb in verbs
        if (verb, kind.plural) != without
    ]
    rbac = "rbac.authorization.k8s.io"
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    api.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": rules})
    subject = {"kind": "ServiceAccount", **meta}
    reference = {"apiGroup": rbac, "kind": "Role", "name": "operator"}
    api.apply({"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": [subject]})
    last = {"group": rules[-1]["apiGroups"][0], "resource": rules[-1]["resources"][0], "verb": rules[-1]["verbs"][0]}
    wait_until(lambda: plane.may(namespace, "operator", **last), what="the API server to hear of the Role")
    return plane.kubeconfig_for(namespace, "operator")


@pytest.fixture
def start_operator(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[StartOperator]:
    """Starts operators for the test's namespace, under the least rights; all are killed after the test.

    How one ends when it is asked to has tests of its own; it takes a second.
    """
    started: list[OperatorProcess] = []
    kubeconfig = grant(control_plane, namespace)

    def start(*arguments: str, ready: bool = True, **environment: str) -> OperatorProcess:
        process = OperatorProcess(
            control_plane,
            tmp_path,
            namespaces=[namespace],
            kubeconfig=kubeconfig,
            environment={**STORAGE, **environment},
            arguments=arguments,
        )
        started.append(process)
        return process.start(ready=ready)

    yield start
    for process in started:
        process.kill()


def quickstart(namespace: str) -> list[Manifest]:
    """The objects of the quickstart."""
    files = sorted((ROOT / "examples" / "quickstart").glob("*.yaml"))
    found = [manifest for file in files for manifest in yaml.safe_load_all(file.read_text()) if manifest]
    return [{**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}} for manifest in found]


def dataset(namespace: str, name: str = "brain", **spec: Any) -> Manifest:
    """A Dataset."""
    source = {"uri": "s3://nnunet/raw/Dataset001_Brain"}
    return _object("Dataset", namespace, name, {"name": "Dataset001_Brain", "source": source, **spec})


def plans(namespace: str, name: str = "brain", of: str = "brain", **spec: Any) -> Manifest:
    """Plans of a Dataset."""
    return _object("Plans", namespace, name, {"datasetRef": {"name": of}, "preprocessing": {"configurations": ["2d"]}, **spec})


def training_run(namespace: str, name: str = "run", of: str = "brain", **spec: Any) -> Manifest:
    """A TrainingRun."""
    return _object("TrainingRun", namespace, name, {"plansRef": {"name": of}, "configuration": "2d", "folds": ["0"], **spec})


def _object(kind: str, namespace: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def condition(manifest: Manifest | None, kind: str = "Ready") -> Manifest:
    """A condition of an object; empty when there is none."""
    found = ((manifest or {}).get("status") or {}).get("conditions") or []
    return next((c for c in found if c["type"] == kind), {})


def leading(operators: list[OperatorProcess]) -> list[OperatorProcess]:
    """Those that say that they lead."""
    return [one for one in operators if one.process.poll() is None and one.metric("nnunet_operator_leading") == 1]
