"""What queues and schedulers read of a Job and its pods."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.api.template import TemplateSpec
from nnunet_operator.manifests import names
from nnunet_operator.manifests.job import children
from nnunet_operator.manifests.job_parameters import JobParameters
from nnunet_trainer.contract.work_order import DatasetOrder, Location

from .test_children import container, owner, step

Manifest = dict[str, Any]


def made(template: Manifest, **more: Any) -> tuple[Manifest, Manifest]:
    """A Job and its pods' spec."""
    _, job = children(step(template=TemplateSpec.model_validate(template), **more))
    return job, job["spec"]["template"]["spec"]


def test_a_jobs_labels_and_annotations_stand_beside_ours_and_not_on_the_pods() -> None:
    asked = {"kueue.x-k8s.io/priority-class": "high", names.OWNER_UID: "forged", names.QUEUE: "theirs"}
    job, _ = made({"jobLabels": asked, "jobAnnotations": {"note": "b", names.STORAGE_URI: "s3://theirs"}}, queue_name="ours")
    labels, annotations = job["metadata"]["labels"], job["metadata"]["annotations"]
    assert labels["kueue.x-k8s.io/priority-class"] == "high"
    assert (labels[names.OWNER_UID], labels[names.QUEUE]) == (owner().metadata.uid, "ours"), "also of what was stored long ago"
    assert annotations == {"note": "b", names.STORAGE_URI: "s3://b", names.SEED: "1"}
    assert "kueue.x-k8s.io/priority-class" not in job["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("queue", [None, "gpus"])
def test_another_controllers_job_says_so(queue: str | None) -> None:
    _, job = children(step(managed_by="kueue.x-k8s.io/multikueue", queue_name=queue))
    assert job["spec"]["managedBy"] == "kueue.x-k8s.io/multikueue"
    assert job["spec"].get("suspend") is (True if queue else None)


def test_pods_of_one_job_are_spread_where_no_selector_is_given() -> None:
    zone = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    host = {
        "maxSkew": 1,
        "topologyKey": "host",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"a": "b"}},
    }
    job, pod = made({"topologySpreadConstraints": [zone, host], "schedulerName": "bin-packing"})
    own = {"matchLabels": {names.JOB_NAME: job["metadata"]["name"]}}
    assert pod["topologySpreadConstraints"] == [{**zone, "labelSelector": own}, host]
    assert pod["schedulerName"] == "bin-packing"


def test_claims_are_the_pods_and_the_containers() -> None:
    gpu = {"name": "gpu", "resourceClaimTemplateName": "one-gpu", "request": "card"}
    nic = {"name": "nic", "resourceClaimName": "rdma"}
    asked = {"resourceClaims": [gpu, nic], "resources": {"limits": {"memory": "1Gi"}}}
    job, pod = made(asked, gpus=1)
    assert pod["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}, nic]
    used = [{"name": "gpu", "request": "card"}, {"name": "nic"}]
    assert container(job)["resources"] == {"limits": {"memory": "1Gi", "nvidia.com/gpu": "1"}, "claims": used}
    job, _ = made(asked, gpus=1, gpu_claim="gpu")
    assert container(job)["resources"] == {"limits": {"memory": "1Gi"}, "claims": used}, "its GPUs come by the claim"


def test_a_dataset_cache_is_mounted_read_only_and_asks_for_no_group() -> None:
    order = DatasetOrder(name="Dataset004_Hippocampus", source=Location(uri="s3://b/raw"), storage=Location(uri="s3://b"))
    job, pod = made({"datasetCache": {"claimName": "datasets"}}, order=order)
    assert "fsGroup" not in pod["securityContext"]
    source = {"persistentVolumeClaim": {"claimName": "datasets", "readOnly": True}}
    assert {"name": "dataset-cache", **source} in pod["volumes"]
    mount = next(mount for mount in container(job)["volumeMounts"] if mount["name"] == "dataset-cache")
    assert mount["readOnly"] is True
    assert {"name": "NNUNET_DATASET_CACHE", "value": mount["mountPath"]} in container(job)["env"]
    _, without = children(step())
    assert "NNUNET_DATASET_CACHE" not in {variable["name"] for variable in container(without)["env"]}


def gang(**more: Any) -> JobParameters:
    return step(gang=True, rendezvous=True, pods=3, **more)


@pytest.mark.parametrize(
    ("cluster", "own", "expected"), [(None, None, None), ("low", None, "low"), ("low", "high", "high")], ids=["none", "low", "high"]
)
def test_a_gang_is_placed_at_once(cluster: str | None, own: str | None, expected: str | None) -> None:
    template = TemplateSpec.model_validate({"priorityClassName": own} if own else {})
    first, job = children(gang(priority_class=cluster, template=template))
    group = next(child for child in first if child["kind"] == "PodGroup")
    assert group["metadata"]["name"] == job["metadata"]["name"]
    assert group["metadata"]["ownerReferences"] == job["metadata"]["ownerReferences"]
    assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": job["spec"]["completions"]}}
    assert group["spec"].get("priorityClassName") == job["spec"]["template"]["spec"].get("priorityClassName") == expected
    assert job["spec"]["template"]["spec"]["schedulingGroup"] == {"podGroupName": group["metadata"]["name"]}
    first, job = children(step(rendezvous=True, pods=3))
    assert [child["kind"] for child in first] == ["ConfigMap", "Service"]
    assert "schedulingGroup" not in job["spec"]["template"]["spec"]
