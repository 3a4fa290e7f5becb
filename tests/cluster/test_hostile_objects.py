"""One tenant's objects, whatever is in them, do not stop the operator for the others, and get no more than a restricted pod."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.apiclient import ApiClient, ApiError, Manifest, wait_until
from support.controlplane import ControlPlane
from support.pretend import PretendKubelet, succeed

from .conftest import API_VERSION, StartOperator, dataset, plans

pytestmark = pytest.mark.controlplane


def create(api: ApiClient, manifest: Manifest, **replaced: str) -> None:
    """POST as a client that does not ask for strict validation; words in quotes are replaced in the text."""
    text = json.dumps(manifest)
    for word, by in replaced.items():
        text = text.replace(f'"{word}"', by)  # deeper than Python's writer can go
    path = api.path(API_VERSION, manifest["kind"], manifest["metadata"]["namespace"]) + "?fieldValidation=Ignore"
    api.request("POST", path, text, accept="application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")


def columns(api: ApiClient, kind: str, namespace: str, name: str) -> dict[str, Any]:
    """What `kubectl get -o wide` shows of an object; empty cells are left out."""
    path = api.path(API_VERSION, kind, namespace, name)
    table = api.request("GET", path, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    named = zip((c["name"] for c in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True)
    return {column: cell for column, cell in named if cell}


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "affinity": ({"affinity": {"nodeAffinity": "everywhere"}}, "affinity"),
    "label-key": ({"labels": {"../../x": "a"}}, "labels"),
    "label-keys-long": ({"labels": {"x" * 300: "a"}}, "labels"),
    "annotations": ({"annotations": {f"k{i}": "x" * 4096 for i in range(64)}}, "annotations"),
    "resource": ({"resources": {"requests": {"no resource!": "1"}}}, "resources"),
    "node-selector": ({"nodeSelector": {"/etc": "a"}}, "nodeSelector"),
}
"""Templates that the schema lets pass and the API server refuses as a pod's: the field that the condition names."""

ESCAPES: dict[str, Any] = {
    "hostNetwork": True, "hostPID": True, "automountServiceAccountToken": True,
    "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
    "containers": [{"name": "trainer", "securityContext": {"privileged": True}}],
    "securityContext": {"runAsUser": 0}, "initContainers": [{"name": "x", "image": "x"}],
    "security": {"fsGroup": 7, "privileged": True, "runAsNonRoot": False},
}  # fmt: skip


def test_others_go_on_and_each_is_told_what_is_wrong(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api = control_plane.admin
    create(api, plans(namespace, "there", patch={"a": "DEEP"}), DEEP='{"a":' * 9000 + "1" + "}" * 9000)  # before it starts
    operator = start_operator()
    for depth in (100, 500, 9000):
        create(api, plans(namespace, f"deep-{depth}", patch={"a": "DEEP"}), DEEP="[" * depth + "]" * depth)
    for name, (template, _) in HOSTILE.items():
        create(api, dataset(namespace, name, template=template))
    create(api, dataset(namespace, "escapes", template=ESCAPES))
    api.create(dataset(namespace, "good"))
    told = {name: ("Dataset", "ChildRefused", field) for name, (_, field) in HOSTILE.items()}
    told |= {f"deep-{depth}": ("Plans", "InvalidSpec", "spec.patch: ") for depth in (100, 500, 9000)}
    told |= {"there": ("Plans", "InvalidSpec", "spec.patch: ")}
    with PretendKubelet(api, namespace, succeed):
        for name in ("good", "escapes"):
            wait_until(
                lambda name=name: columns(api, "Dataset", namespace, name).get("Ready") == "True",
                what=f"Dataset {name} to be Ready",
            )  # fmt: skip
        for name, (kind, reason, field) in told.items():
            wait_until(
                lambda name=name, kind=kind, reason=reason: columns(api, kind, namespace, name).get("Reason") == reason,
                what=lambda name=name, kind=kind: f"{name} to be told: {columns(api, kind, namespace, name)}",
            )  # fmt: skip
            assert field in columns(api, kind, namespace, name)["Message"]
    assert operator.process.poll() is None
    assert "Traceback" not in operator.log
    assert operator.metric("nnunet_operator_errors_total", cause="Bug") == 0


def test_what_the_schema_does_not_name_is_not_kept_and_the_pod_is_restricted(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api = control_plane.admin
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.patch({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, {"metadata": {"labels": level}})
    create(api, dataset(namespace, template=ESCAPES))
    kept = api.get(API_VERSION, "Dataset", namespace, "brain")
    assert kept is not None
    assert kept["spec"]["template"] == {"security": {"fsGroup": 7}}
    start_operator()
    # The pod is there: the restricted level has let it in.
    pod = wait_until(lambda: next(iter(api.list("v1", "Pod", namespace)), None), what="its pod")
    assert not {"hostNetwork", "hostPID", "initContainers"} & pod["spec"].keys()


def annotated(size: int) -> dict[str, str]:
    """Annotations of so many bytes in all."""
    return {f"note-{i}": "x" * 1000 for i in range(size // 1000)}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "x" * 300}, "metadata.name"),
        ({"annotations": annotated(1_000_000)}, "metadata.annotations"),
        ({"labels": {"x" * 300: "a"}}, "metadata.labels"),
        ({"name": "../../x"}, "metadata.name"),
    ],
    ids=["long-name", "1-MB-of-annotations", "long-label", "climbing-name"],
)
def test_what_is_too_much_is_refused_by_name(control_plane: ControlPlane, namespace: str, change: Manifest, field: str) -> None:
    manifest = dataset(namespace)
    manifest["metadata"] |= change
    with pytest.raises(ApiError) as refused:
        control_plane.admin.create(manifest)
    assert refused.value.code == 422
    assert field in refused.value.message
