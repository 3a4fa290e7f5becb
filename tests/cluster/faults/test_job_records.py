"""The witness of the other tests notices what was done twice."""

from __future__ import annotations

import pytest
from nnunet_operator.manifests import names
from support.apiclient import Manifest, wait_until
from support.controlplane import ControlPlane
from support.faults.job_records import JobRecords

pytestmark = pytest.mark.controlplane


def job(namespace: str, attempt: int) -> Manifest:
    labels = {names.OWNER_UID: "1-2-3", names.STEP: "train", names.FOLD: "0", names.ATTEMPT: str(attempt)}
    pod = {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "none"}]}
    meta = {"name": f"run-123-f0-{attempt}", "namespace": namespace, "labels": labels}
    spec = {"template": {"metadata": {"labels": labels}, "spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


def test_a_second_job_of_an_attempt_and_pods_side_by_side_are_noticed(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.admin
    with JobRecords(api, namespace) as records:
        pods: dict[str, Manifest] = {}
        for attempt in (0, 1):
            api.create(job(namespace, attempt))
            wait_until(lambda attempt=attempt: len(api.list("v1", "Pod", namespace)) == attempt + 1, what="its pod")
        for pod in api.list("v1", "Pod", namespace):
            pods[pod["metadata"]["labels"][names.JOB_NAME]] = api.patch(pod, {"status": {"phase": "Running"}}, sub="status")
        one, other = (pods[f"run-123-f0-{attempt}"]["metadata"]["name"] for attempt in (0, 1))
        wait_until(lambda: records.doubled, what="the witness to speak")
        assert [set(said.split()) & {one, other} for said in records.doubled] == [{one, other}]
        api.delete(job(namespace, 0))
        wait_until(lambda: len(api.list("batch/v1", "Job", namespace)) == 1, what="the Job to be gone")
        api.create(job(namespace, 0))
        wait_until(lambda: "2 Jobs named run-123-f0-0" in records.doubled, what="the witness to speak")
