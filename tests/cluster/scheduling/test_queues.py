"""Jobs in a queue of Kueue's, on a real API server with Kueue's own CRDs; the test plays Kueue."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from nnunet_operator.cluster.preflight import WORKLOADS
from support.apiclient import Manifest, wait_until
from support.controlplane import NODE, ControlPlane
from support.operator import OperatorProcess
from support.pretend import PretendKubelet, succeed
from support.third_party import kueue

from ..conftest import API_VERSION, STORAGE, StartOperator, condition, dataset, grant, plans, training_run

pytestmark = pytest.mark.controlplane

FULL = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor a100, 1 more needed"


def test_every_kind_waits_in_its_queue_and_says_what_for(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    api = control_plane.admin
    kueue.install_crds(control_plane)
    transfer = {
        "apiVersion": API_VERSION,
        "kind": "PlanTransfer",
        "metadata": {"name": "moved", "namespace": namespace},
        "spec": {
            "from": {"plansRef": {"name": "brain"}},
            "to": {"datasetRef": {"name": "brain"}},
            "plansName": "nnUNetPlans_moved",
            "preprocessing": {"configurations": ["2d"]},
            "queueName": "cpus",
        },
    }
    template = {"jobLabels": {"kueue.x-k8s.io/priority-class": "high"}, "jobAnnotations": {"example.com/note": "a b"}}
    operator = OperatorProcess(
        control_plane,
        tmp_path,
        namespaces=[namespace],
        kubeconfig=grant(control_plane, namespace, WORKLOADS),
        environment={**STORAGE, "NNUNET_KUEUE_WORKLOAD_SECONDS": "0.2"},
    )

    def stands(kind: str, name: str) -> Manifest:
        return api.get(API_VERSION, kind, namespace, name) or {}

    def first_of(owner: tuple[str, str]) -> Manifest | None:
        labels = f"nnunet.dev/owner-kind={owner[0]},nnunet.dev/owner-name={owner[1]}"
        return next(iter(job for job in api.list("batch/v1", "Job", namespace, labels=labels) if job["spec"]["suspend"]), None)

    with operator, PretendKubelet(api, namespace, succeed):
        api.apply(dataset(namespace, queueName="cpus", template=template))
        api.apply(plans(namespace, queueName="cpus"))
        api.apply(transfer)
        api.apply(training_run(namespace, queueName="gpus"))
        # Planning and preprocessing are two Jobs each.
        chain = [("Dataset", "brain"), *[("Plans", "brain")] * 2, *[("Plans", "moved")] * 2, ("TrainingRun", "run")]
        for owner in chain:
            about = ("PlanTransfer", "moved") if owner == ("Plans", "moved") else owner
            job = wait_until(lambda owner=owner: first_of(owner), what=lambda owner=owner: f"a Job of {owner}")  # type: ignore[misc]
            queue = job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
            assert queue == ("gpus" if owner[0] == "TrainingRun" else "cpus")
            kueue.workload(api, job, "forged", controller=False)
            real = kueue.workload(api, job, FULL)
            for said in (FULL, "couldn't assign flavors: 0 more needed") if owner[0] == "Dataset" else (FULL,):
                kueue.say(api, real, said)
                wait_until(
                    lambda about=about, said=said, queue=queue: (  # type: ignore[misc]
                        (ready := condition(stands(*about))).get("reason") == "Queued"
                        and ready["message"].endswith(f"waits in queue {queue}: {said}")
                    ),
                    what=lambda about=about: f"{about} to say it: {condition(stands(*about))}\n{operator.log[-2000:]}",  # type: ignore[misc]
                )
            assert not api.list("v1", "Pod", namespace, labels=f"job-name={job['metadata']['name']}")
            if owner[0] == "Dataset":
                assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "high"
                assert job["metadata"]["annotations"]["example.com/note"] == "a b"
            api.patch(job, {"spec": {"suspend": False}})
        for kind, name in {*chain, ("PlanTransfer", "moved")}:
            wait_until(
                lambda kind=kind, name=name: condition(stands(kind, name)).get("status") == "True",  # type: ignore[misc]
                what=lambda kind=kind, name=name: f"{kind} {name} to be Ready: {condition(stands(kind, name))}",  # type: ignore[misc]
            )
    assert operator.log.count("cannot be read") == 0


def test_without_the_right_it_says_at_once_what_is_missing(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    operator = OperatorProcess(
        control_plane,
        tmp_path,
        namespaces=[namespace],
        kubeconfig=grant(control_plane, namespace),
        environment={**STORAGE, "NNUNET_KUEUE_WORKLOAD_SECONDS": "10"},
    )
    operator.start(ready=False)
    assert operator.process.wait(60) == 78
    assert f"list workloads.kueue.x-k8s.io in namespace {namespace}" in operator.log


def test_a_job_that_another_controller_runs(control_plane: ControlPlane, namespace: str, start_operator: StartOperator) -> None:
    """Kubernetes' own leaves it alone; pods and status come from elsewhere, here from the test."""
    api = control_plane.admin
    start_operator()
    asked = {
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "schedulerName": "bin-packing",
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu", "request": "card"}],
        "datasetCache": {"claimName": "datasets"},
    }
    with PretendKubelet(api, namespace, succeed):
        api.apply(dataset(namespace, "theirs", managedBy="example.com/elsewhere", template=asked))
        api.apply(dataset(namespace, "ours"))

        def ready(name: str) -> bool:
            return condition(api.get(API_VERSION, "Dataset", namespace, name)).get("status") == "True"

        wait_until(lambda: ready("ours"), what="the ordinary one to be Ready")
        made = lambda: api.list("batch/v1", "Job", namespace, labels="nnunet.dev/owner-name=theirs")  # noqa: E731
        (job,) = wait_until(made, what="the other one's Job")
        assert job["spec"]["managedBy"] == "example.com/elsewhere"
        assert not job.get("status", {}).get("startTime"), "Kubernetes' Job controller has touched it"
        template, meta = job["spec"]["template"], job["metadata"]
        assert template["spec"]["schedulerName"] == "bin-packing"
        assert template["spec"]["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
        spec = {key: value for key, value in template["spec"].items() if key != "resourceClaims"}
        spec["containers"][0].pop("resources")
        head = {"name": f"{meta['name']}-x", "namespace": namespace, "labels": template["metadata"]["labels"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**head, "ownerReferences": [owner]}, "spec": spec}
        assert api.create(pod)["spec"]["nodeName"] == NODE

        def phase() -> str:
            return str((api.get("v1", "Pod", namespace, head["name"]) or {})["status"]["phase"])

        wait_until(lambda: phase() == "Succeeded", what="its pod to end")
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # an end that is new: what pods say may come a moment later
        done = {"status": "True", "reason": "CompletionsReached", "message": "", "lastTransitionTime": at, "lastProbeTime": at}
        conditions = [{"type": kind, **done} for kind in ("SuccessCriteriaMet", "Complete")]
        api.patch(job, {"status": {"startTime": at, "completionTime": at, "succeeded": 1, "conditions": conditions}}, sub="status")
        wait_until(lambda: ready("theirs"), what="the other one to be Ready")
