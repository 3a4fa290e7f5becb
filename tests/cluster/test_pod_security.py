"""The real admission, enforcing Pod Security "restricted", takes every pod that we make, whatever an allowed template says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from nnunet_operator.api.resources import parse
from nnunet_operator.api.schema import validation
from nnunet_operator.api.template import ResourcesSpec, TemplateSpec
from nnunet_operator.manifests import names
from nnunet_operator.manifests.job import children
from nnunet_operator.manifests.job_parameters import JobParameters
from nnunet_trainer.contract.work_order import Input, Location, TrainOrder
from support.apiclient import ApiError, Manifest
from support.controlplane import ControlPlane
from support.schema_values import values

pytestmark = pytest.mark.controlplane

TEMPLATE = validation.schema_of("TrainingRun")["properties"]["spec"]["properties"]["template"]
PLACES = {
    "s3": Location(uri="s3://bucket", secret_name="s3", ca_config_map="ca"),
    "claim": Location(uri="pvc://fast/nnunet"),
}


@pytest.fixture(scope="module")
def restricted(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace whose admission enforces "restricted"."""
    name = control_plane.create_namespace("restricted")
    control_plane.admin.patch(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    )
    yield name
    control_plane.delete_namespace(name)


def run(template: Manifest) -> Manifest:
    metadata = {"name": "run", "namespace": "team", "uid": "3f2a1b9c-0000-4000-8000-000000000000"}
    spec = {"plansRef": {"name": "plans"}, "folds": ["0"], "template": template}
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": metadata, "spec": spec}


def pods_of(template: Manifest, namespace: str) -> Iterator[Manifest]:
    """The pods that the operator would make: from S3 and from a claim, alone and several that find each other."""
    owner = parse(run(template))
    for place in PLACES.values():
        for pods in (1, 2):
            order = TrainOrder(
                namespace="team", run="run", dataset_name="Dataset004_Hippocampus", configuration="2d", fold="0", seed=1,
                preprocessed=Input(location=place, digest="x"), plans=Input(location=place, digest="p"), storage=place,
            )  # fmt: skip
            parameters = JobParameters(
                owner=owner, name=names.job(owner, "f0", 1), order=order, labels=names.labels(owner, "train", fold="0"),
                image="trainer:1", template=owner.spec.template or TemplateSpec(), pods=pods, rendezvous=pods > 1,
                plugins=("losses",), shared_memory="1Gi", gpus=1,
                default_resources=ResourcesSpec.model_validate({"requests": {"cpu": "500m"}}),
            )  # fmt: skip
            _, job = children(parameters)
            made = copy.deepcopy(job["spec"]["template"])
            made["metadata"] |= {"name": f"pod-{pods}", "namespace": namespace}
            yield {"apiVersion": "v1", "kind": "Pod", **made}


def refusal(plane: ControlPlane, pod: Manifest) -> str:
    """Why the admission does not take a pod; empty when it does."""
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods?dryRun=All&fieldValidation=Strict"
    try:
        plane.admin.request("POST", path, pod)
    except ApiError as error:
        return error.message
    return ""


def test_the_pods_of_a_plain_template_are_admitted(control_plane: ControlPlane, restricted: str) -> None:
    for pod in pods_of({}, restricted):
        assert refusal(control_plane, pod) == ""


BREAKING: dict[str, Any] = {
    "as root": {"spec": {"securityContext": {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}}},
    "no seccomp profile": {"spec": {"securityContext": {"runAsNonRoot": True}}},
    "on the host's network": {"spec": {"hostNetwork": True}},
    "a host's folder": {"spec": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}},
    "no AppArmor": {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}}},
}


@pytest.mark.parametrize("name", BREAKING)
def test_the_admission_would_refuse_what_is_not_restricted(name: str, control_plane: ControlPlane, restricted: str) -> None:
    """The test below can fail."""
    pod = next(pods_of({}, restricted))
    for part, change in BREAKING[name].items():
        pod[part] = {**pod[part], **change}
    pod["spec"]["containers"][0]["volumeMounts"] = []
    assert "violates PodSecurity" in refusal(control_plane, pod)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
@given(template=values(TEMPLATE), which=st.integers(0, 3))
def test_no_template_that_the_schema_allows_breaks_it(
    template: Manifest, which: int, control_plane: ControlPlane, restricted: str
) -> None:
    assume(not validation.findings(run(template)))
    pod = [*pods_of(template, restricted)][which]  # what makes the four differ is in none of the templates
    assert "violates PodSecurity" not in refusal(control_plane, pod), json.dumps(template)


CONFINEMENT = [
    "container.apparmor.security.beta.kubernetes.io/trainer",
    "container.apparmor.security.beta.kubernetes.io/another",
    "container.seccomp.security.alpha.kubernetes.io/trainer",
    "seccomp.security.alpha.kubernetes.io/pod",
]


@pytest.mark.parametrize("key", CONFINEMENT)
@pytest.mark.parametrize("value", ["unconfined", "runtime/default", ""])
def test_an_annotation_about_confinement_is_refused_with_its_field(key: str, value: str, control_plane: ControlPlane) -> None:
    manifest = run({"annotations": {key: value}})
    manifest["metadata"] = {"name": "run"}
    with pytest.raises(ApiError, match=r"spec\.template\.annotations: Invalid value: .*AppArmor and seccomp profiles") as refused:
        control_plane.admin.request(
            "POST", "/apis/nnunet.dev/v1alpha1/namespaces/default/trainingruns?dryRun=All&fieldValidation=Strict", manifest
        )
    assert refused.value.code == 422
