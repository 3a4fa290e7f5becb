"""The chart's ValidatingAdmissionPolicy on the real API server: `file:` URIs are refused where the operator watches."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from support.apiclient import ApiClient, ApiError, Manifest, wait_until
from support.controlplane import ControlPlane
from support.third_party.chart import render

API_VERSION = "nnunet.dev/v1alpha1"
FILES = {"uri": "file:///data"}
S3 = {"uri": "s3://bucket/x"}
SPECS: dict[str, Manifest] = {
    "Dataset": {"name": "Dataset004_Hippocampus", "source": S3},
    "Plans": {"datasetRef": {"name": "a"}},
    "PlanTransfer": {"from": {"plansRef": {"name": "a"}}, "to": {"datasetRef": {"name": "b"}}, "plansName": "nnUNetPlans_b"},
    "TrainingRun": {"plansRef": {"name": "a"}, "folds": [0]},
}
PLACES = [
    *((kind, "storage") for kind in SPECS),
    ("Dataset", "source"),
    ("TrainingRun", "pretrained"),
]


def policies(values: dict[str, Any]) -> list[Manifest]:
    return [m for m in render(values) if m["kind"].startswith("ValidatingAdmissionPolicy")]


def test_it_is_on_unless_it_is_turned_off() -> None:
    assert [m["kind"] for m in policies({})] == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
    assert policies({"admissionPolicy": {"enabled": False}}) == []


def test_it_holds_where_the_operator_watches() -> None:
    assert "matchResources" not in policies({})[1]["spec"]
    (expression,) = policies({"watchNamespaces": ["a", "b"]})[1]["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert expression == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}


@pytest.fixture(scope="module")
def place(control_plane: ControlPlane) -> Iterator[tuple[ApiClient, str]]:
    """A namespace in which the policy holds, with an object of each kind that was stored before."""
    admin, namespace = control_plane.admin, control_plane.create_namespace()
    for kind, field in PLACES:
        admin.create(made(kind, namespace, f"stored-{field}", **{field: FILES}))
    manifests = policies({"watchNamespaces": [namespace], "fullnameOverride": namespace})
    for manifest in manifests:
        admin.create(manifest)
    probe = made("Dataset", namespace, "probe", storage=FILES)

    def holds() -> bool:
        try:
            admin.create(probe)
        except ApiError as error:
            return "file://" in error.message
        admin.delete(probe)
        return False

    wait_until(holds, what="the policy to hold")
    yield admin, namespace
    for manifest in manifests:
        admin.delete(manifest)
    control_plane.delete_namespace(namespace)


def made(kind: str, namespace: str, name: str, **spec: Any) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": {**copy.deepcopy(SPECS[kind]), **spec}}


@pytest.mark.controlplane
@pytest.mark.parametrize(("kind", "field"), PLACES)
@pytest.mark.parametrize("uri", ["file:///data", "file://localhost/data"])
def test_a_folder_of_one_machine_is_refused(place: tuple[ApiClient, str], kind: str, field: str, uri: str) -> None:
    admin, namespace = place
    with pytest.raises(ApiError) as refused:
        admin.create(made(kind, namespace, "new", **{field: {"uri": uri}}))
    assert refused.value.code == 422
    assert f"spec.{field}.uri: file:// names a folder of one machine" in refused.value.message
    assert "s3://bucket/prefix or pvc://claim/path" in refused.value.message


@pytest.mark.controlplane
@pytest.mark.parametrize(("kind", "field"), PLACES)
@pytest.mark.parametrize("uri", ["s3://bucket/file://x", "pvc://file/x"])
def test_what_pods_share_is_taken(place: tuple[ApiClient, str], kind: str, field: str, uri: str) -> None:
    admin, namespace = place
    uri = uri.replace("//x", "/x")
    created = admin.create(made(kind, namespace, "good", **{field: {"uri": uri}}))
    assert created["spec"][field]["uri"] == uri
    admin.delete(created)


@pytest.mark.controlplane
@pytest.mark.parametrize("kind", SPECS)
def test_what_names_no_uri_is_taken(place: tuple[ApiClient, str], kind: str) -> None:
    admin, namespace = place
    admin.delete(admin.create(made(kind, namespace, "plain")))


@pytest.mark.controlplane
@pytest.mark.parametrize(("kind", "field"), PLACES)
def test_what_was_stored_before_can_be_written_and_deleted(place: tuple[ApiClient, str], kind: str, field: str) -> None:
    admin, namespace = place
    stored = made(kind, namespace, f"stored-{field}", **{field: FILES})
    assert admin.patch(stored, {"metadata": {"labels": {"a": "b"}}})["metadata"]["labels"] == {"a": "b"}
    assert admin.patch(stored, {"spec": {"rerun": "2"}})["spec"]["rerun"] == "2"
    admin.patch(stored, {"status": {"observedGeneration": 1}}, sub="status")
    admin.delete(stored)


@pytest.mark.controlplane
def test_such_a_storage_cannot_be_added_later(place: tuple[ApiClient, str]) -> None:
    admin, namespace = place
    plain = admin.create(made("Plans", namespace, "later"))
    with pytest.raises(ApiError, match=r"spec\.storage\.uri"):
        admin.patch(plain, {"spec": {"storage": FILES}})
    admin.delete(plain)
