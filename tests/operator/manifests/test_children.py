"""A Job, its work order and its Service, as data."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_operator.api.resources import Resource, parse
from nnunet_operator.api.template import ResourcesSpec, TemplateSpec
from nnunet_operator.manifests import names
from nnunet_operator.manifests.job import children
from nnunet_operator.manifests.job_parameters import JobParameters
from nnunet_trainer.contract import work_order
from nnunet_trainer.contract.work_order import DatasetOrder, Input, Location, TrainOrder


def owner(name: str = "run", uid: str = "3f2a1b9c-0000-4000-8000-000000000000") -> Resource:
    spec = {"plansRef": {"name": "plans"}, "folds": ["0"]}
    metadata = {"name": name, "namespace": "team", "uid": uid}
    return parse({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": metadata, "spec": spec})


def train_order(**more: Any) -> TrainOrder:
    s3 = Location(uri="s3://b/plans", secret_name="s3", ca_config_map="our-ca")
    return TrainOrder(
        namespace="team",
        run="run",
        dataset_name="Dataset004_Hippocampus",
        preprocessed=Input(location=Location(uri="pvc://fast/preprocessed"), digest="x"),
        plans=Input(location=s3, digest="p"),
        configuration="3d_fullres",
        fold="0",
        seed=1,
        storage=Location(uri="s3://b", secret_name="s3-too"),
        **more,
    )


def step(**more: Any) -> JobParameters:
    run = owner()
    given_ = {
        "owner": run,
        "name": names.job(run, "f0", 2),
        "order": train_order(),
        "labels": names.labels(run, "train", configuration="3d_fullres", fold="0", attempt=2),
        "image": "trainer:1",
        **more,
    }
    return JobParameters(**given_)


def container(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_work_order_is_frozen_and_bears_its_digest() -> None:
    (frozen,), job = children(step())
    assert frozen["immutable"] is True
    assert frozen["metadata"]["labels"]["nnunet.dev/contract-version"] == "1"
    assert work_order.decode(frozen["data"]["order.json"]) == train_order()
    (other,), _ = children(step(order=train_order(deterministic=True)))
    assert other["metadata"]["name"] != frozen["metadata"]["name"], "an immutable object is never applied with another content"
    volume = next(v for v in job["spec"]["template"]["spec"]["volumes"] if v["name"] == "order")
    assert volume["configMap"]["name"] == frozen["metadata"]["name"]
    assert container(job)["args"] == ["run", "/etc/nnunet/order/order.json"]


def test_the_same_step_gives_the_same_bytes() -> None:
    one, two = children(step()), children(copy.deepcopy(step()))
    assert json.dumps(one) == json.dumps(two)
    assert not re.search(r"20\d\d-\d\d-\d\dT", json.dumps(one)), "no timestamps"


def test_the_job_never_retries_by_itself_and_tells_disruptions_first() -> None:
    _, job = children(step())
    spec = job["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    disruption, permanent = spec["podFailurePolicy"]["rules"]
    assert disruption == {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert permanent["onExitCodes"] == {"containerName": "trainer", "operator": "In", "values": [64, 65, 71, 78]}
    assert "ttlSecondsAfterFinished" not in spec
    assert "suspend" not in spec
    assert job["metadata"]["ownerReferences"][0]["controller"] is True


def test_the_pod_is_what_pod_security_restricted_admits() -> None:
    _, job = children(step())
    pod, inside = job["spec"]["template"]["spec"], container(job)
    assert pod["automountServiceAccountToken"] is False
    restricted = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    # A claim is mounted: a fresh block volume belongs to root unless the kubelet gives it to a group.
    assert pod["securityContext"] == {**restricted, "fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}
    assert inside["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "ephemeral", "name"}
    assert all(volume.keys() <= allowed for volume in pod["volumes"])
    assert inside["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert pod["terminationGracePeriodSeconds"] == 300


DEFAULTS = ResourcesSpec.model_validate({"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "8Gi"}})
WITH_DEFAULTS: dict[str, tuple[dict[str, Any] | None, int, dict[str, Any]]] = {
    "nothing asked": (None, 0, {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "8Gi"}}),
    "a request alone": (
        {"requests": {"memory": "16Gi"}},
        0,
        {"requests": {"cpu": "1", "memory": "16Gi"}},  # no limit of 8Gi below it
    ),
    "a limit alone": (
        {"limits": {"memory": "2Gi"}},
        0,
        {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},  # Kubernetes makes the request of it
    ),
    "all asked": (
        {"requests": {"cpu": "2"}, "limits": {"cpu": "4", "memory": "1Gi"}},
        0,
        {"requests": {"cpu": "2"}, "limits": {"cpu": "4", "memory": "1Gi"}},
    ),
    "GPUs": (
        None,
        2,
        {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "8Gi", "nvidia.com/gpu": "2"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WITH_DEFAULTS)
def test_default_resources_count_for_what_is_not_asked(name: str) -> None:
    asked, gpus, made = WITH_DEFAULTS[name]
    template = TemplateSpec.model_validate({"resources": asked} if asked else {})
    _, job = children(step(template=template, gpus=gpus, default_resources=DEFAULTS))
    assert container(job)["resources"] == made


def test_each_secret_ca_plugin_and_claim_is_mounted_once() -> None:
    _, job = children(step(plugins=("losses", "losses"), shared_memory="2Gi"))
    mounts = {mount["mountPath"] for mount in container(job)["volumeMounts"]}
    assert mounts == {
        "/etc/nnunet/order",
        "/var/run/secrets/nnunet.dev/s3",
        "/var/run/secrets/nnunet.dev/s3-too",
        "/etc/nnunet/ca/our-ca",
        "/etc/nnunet/plugins/losses",
        "/mnt/pvc/fast",
        "/scratch",
        "/tmp",
        "/dev/shm",
    }
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert {volume["name"] for volume in volumes.values()} == {mount["name"] for mount in container(job)["volumeMounts"]}


def test_several_nodes_find_each_other_by_a_headless_service() -> None:
    (_, service), job = children(step(pods=3, rendezvous=True, gpus=2))
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["clusterIP"] == "None"
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    environment = {variable["name"]: variable.get("value") for variable in container(job)["env"]}
    assert environment["MASTER_ADDR"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert container(job)["resources"] == {"limits": {"nvidia.com/gpu": "2"}}


def test_a_pod_knows_the_uid_of_its_job() -> None:
    """By the label that the Job controller sets: the order is written before there is a Job."""
    _, job = children(step())
    source = next(variable["valueFrom"] for variable in container(job)["env"] if variable["name"] == "NNUNET_JOB_UID")
    assert source == {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}}


def test_a_queue_gets_a_suspended_job() -> None:
    _, job = children(step(queue_name="gpus"))
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"


def test_the_template_says_what_it_may_say_and_no_more() -> None:
    template = TemplateSpec.model_validate(
        {
            "image": "mine:2",
            "imagePullSecrets": [{"name": "registry"}],
            "serviceAccountName": "trainer",
            "nodeSelector": {"gpu": "a100"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "priorityClassName": "high",
            "resources": {"limits": {"memory": "16Gi"}},
            "scratch": {"size": "50Gi", "storageClassName": "fast"},
            "sharedMemory": {"size": "8Gi"},
            "labels": {"team": "a", "nnunet.dev/owner-uid": "forged"},
            "annotations": {"note": "b"},
            "security": {"runAsUser": 1000, "fsGroup": 1000},
            "env": [{"name": "NCCL_DEBUG", "value": "INFO"}, {"name": "MASTER_ADDR", "value": "evil"}],
            "terminationGracePeriodSeconds": 60,
        }
    )
    _, job = children(step(template=template, priority_class="low", gpus=1, rendezvous=True, pods=2))
    pod, inside = job["spec"]["template"], container(job)
    assert pod["metadata"]["labels"] | {"team": "a"} == pod["metadata"]["labels"]
    assert pod["metadata"]["labels"]["nnunet.dev/owner-uid"] == owner().metadata.uid, "our labels cannot be forged"
    assert pod["metadata"]["annotations"] == {"note": "b"}
    assert inside["image"] == "mine:2"
    assert inside["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "1"}
    spec = pod["spec"]
    assert (spec["priorityClassName"], spec["serviceAccountName"], spec["nodeSelector"]) == ("high", "trainer", {"gpu": "a100"})
    assert spec["securityContext"] | {"runAsUser": 1000, "fsGroup": 1000, "runAsNonRoot": True} == spec["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    named = [variable["name"] for variable in inside["env"]]
    assert named.count("MASTER_ADDR") == 1
    assert next(v for v in inside["env"] if v["name"] == "MASTER_ADDR")["value"] != "evil"
    assert {"name": "NCCL_DEBUG", "value": "INFO"} in inside["env"]
    claim = next(v for v in spec["volumes"] if v["name"] == "scratch")["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["resources"]["requests"] == {"storage": "50Gi"}


@pytest.mark.parametrize(
    ("security", "user", "group"),
    [
        (None, None, None),  # the image's
        ({"fsGroup": 7}, None, None),
        ({"runAsUser": 1000}, 1000, 65532),
        ({"runAsGroup": 5}, 65532, 5),
        ({"runAsUser": 1000, "runAsGroup": 5}, 1000, 5),
    ],
)
def test_user_and_group_are_named_both_or_not_at_all(security: Any, user: int | None, group: int | None) -> None:
    """A group without a user: containerd refuses the sandbox. A user without a group: root's group."""
    _, job = children(step(template=TemplateSpec.model_validate({"security": security} if security else {})))
    context = job["spec"]["template"]["spec"]["securityContext"]
    assert (context.get("runAsUser"), context.get("runAsGroup")) == (user, group)


def test_a_steps_own_resources_go_before_the_templates() -> None:
    template = TemplateSpec.model_validate({"resources": {"limits": {"memory": "1Gi"}}})
    own = ResourcesSpec.model_validate({"requests": {"cpu": "4"}})
    _, job = children(step(template=template, resources=own))
    assert container(job)["resources"] == {"requests": {"cpu": "4"}}


cr_names = st.from_regex(r"\A[a-z]([-a-z0-9]{0,38}[a-z0-9])?\Z")
configurations = st.from_regex(r"\A[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")


@given(name=cr_names, part=configurations, attempt=st.integers(0, 9999))
def test_names_fit_and_begin_with_a_letter(name: str, part: str, attempt: int) -> None:
    job = names.job(owner(name), part, attempt)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", job)
    assert len(f"{job}-999") <= 63
    assert job.startswith(f"{name}-3f2a1b-")
    assert job.endswith(f"-{attempt}")


@given(one=configurations, two=configurations)
def test_two_parts_never_share_a_name(one: str, two: str) -> None:
    assert (one == two) == (names.job(owner(), one, 0) == names.job(owner(), two, 0))


@pytest.mark.parametrize(
    ("part", "expected"), [("f0", "run-3f2a1b-f0-2"), ("fall", "run-3f2a1b-fall-2"), ("3d_fullres", "run-3f2a1b-3d-fullres-2")]
)
def test_names_can_be_read(part: str, expected: str) -> None:
    assert names.job(owner(), part, 2) == expected


def test_an_order_without_secrets_mounts_none() -> None:
    order = DatasetOrder(name="Dataset004_Hippocampus", source=Location(uri="file:///data"), storage=Location(uri="file:///store"))
    _, job = children(step(order=order))
    assert not [v for v in job["spec"]["template"]["spec"]["volumes"] if "secret" in v]
