"""What neighbours write does not count: Jobs and pods that look like an object's children and are not."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nnunet_trainer.contract.report import Artifact, Report
from support.apiclient import ApiClient, ApiError, Manifest, wait_until
from support.controlplane import ControlPlane
from support.operator import OperatorProcess
from support.pretend import NOW, Ending, PretendKubelet, succeed

from .conftest import API_VERSION, STORAGE, StartOperator, condition, dataset, plans, training_run

pytestmark = pytest.mark.controlplane

FORGED = "s3://nnunet/forged"


def forged_end(order: Manifest) -> Ending:
    """A pod of the forger's ends well, with a report of the forger's."""
    kind = {"train": "run", "dataset": "dataset"}[order["step"]]
    return Ending.of(Report(step=order["step"], artifacts=[Artifact(kind=kind, uri=FORGED, digest="forged")]))


def copy_of(job: Manifest, name: str, **metadata: object) -> Manifest:
    """A Job with the labels, the pod template and the owner references of another."""
    meta, spec = job["metadata"], copy.deepcopy(job["spec"])
    template = spec["template"]
    ours = {k: v for k, v in template["metadata"]["labels"].items() if "controller-uid" not in k and "job-name" not in k}
    template["metadata"] = {"labels": ours, "annotations": {"forged": "yes"}}
    kept = {"namespace": meta["namespace"], "labels": meta["labels"], "ownerReferences": meta["ownerReferences"]}
    labels = {k: v for k, v in meta["labels"].items() if "controller-uid" not in k and "job-name" not in k}
    head = {**kept, "labels": labels, "name": name, **metadata}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {k: v for k, v in head.items() if v is not None},
        "spec": {"backoffLimit": 0, "template": template},
    }


def job_of(api: ApiClient, namespace: str, kind: str) -> Manifest:
    """The Job of the one object of a kind."""
    selector = {"nnunet.dev/owner-kind": kind}

    def found() -> Manifest | None:
        jobs = api.list("batch/v1", "Job", namespace)
        return next((job for job in jobs if selector.items() <= job["metadata"]["labels"].items()), None)

    return wait_until(found, what=f"the Job of the {kind}")


def without_controller(job: Manifest) -> list[Manifest]:
    return [{k: v for k, v in reference.items() if k != "controller"} for reference in job["metadata"]["ownerReferences"]]


def outside(job: Manifest, neighbour: str) -> Manifest:
    return copy_of(job, job["metadata"]["name"], namespace=neighbour)


def outside_without_owner(job: Manifest, neighbour: str) -> Manifest:
    return copy_of(job, "x", namespace=neighbour, ownerReferences=None)


def copied_inside(job: Manifest, _: str) -> Manifest:
    return copy_of(job, f"{job['metadata']['name']}-copy")


def copied_as_the_next_attempt(job: Manifest, _: str) -> Manifest:
    labels = {**job["metadata"]["labels"], "nnunet.dev/attempt": "1"}
    return copy_of(job, job["metadata"]["name"].removesuffix("0") + "1", labels=labels)


def copied_without_controller(job: Manifest, _: str) -> Manifest:
    return copy_of(job, f"{job['metadata']['name']}-uncontrolled", ownerReferences=without_controller(job))


def forged_pod(job: Manifest, _: str) -> Manifest:
    """A pod alone, that names our Job as an owner but not as its controller."""
    template = copy_of(job, "x")["spec"]["template"]
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": meta["name"]}
    metadata = {
        **template["metadata"],
        "name": f"{meta['name']}-zzzzz",
        "namespace": meta["namespace"],
        "labels": labels,
        "ownerReferences": [owner],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def forged_pod_outside(job: Manifest, neighbour: str) -> Manifest:
    pod = forged_pod(job, neighbour)
    return {**pod, "metadata": {**pod["metadata"], "namespace": neighbour, "ownerReferences": []}}


Forge = Callable[[Manifest, str], Manifest]
OUTSIDE: list[Forge] = [outside, outside_without_owner, forged_pod_outside]
"""What a neighbour can do who has rights in its own namespace only."""
INSIDE: list[Forge] = [copied_inside, copied_as_the_next_attempt, copied_without_controller, forged_pod]


def tenant(plane: ControlPlane, namespace: str) -> ApiClient:
    """Somebody who may do everything in one namespace, and nothing elsewhere."""
    api, meta, rbac = plane.admin, {"name": "tenant", "namespace": namespace}, "rbac.authorization.k8s.io"
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    api.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": everything})
    to = {"roleRef": {"apiGroup": rbac, "kind": "Role", "name": "tenant"}, "subjects": [{"kind": "ServiceAccount", **meta}]}
    api.apply({"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": meta, **to})
    return plane.client_for(namespace, "tenant")


@pytest.fixture
def neighbour(control_plane: ControlPlane) -> Iterator[str]:
    """Another namespace, that the operator looks after as well."""
    name = control_plane.create_namespace()
    yield name
    control_plane.delete_namespace(name)


def adopt_by_hand(api: ApiClient, job: Manifest) -> Manifest:
    """A Job that was somebody's own, and is then given the labels and the owner of one of ours."""
    copied = copy_of(job, "adopted")
    meta = copied["metadata"]
    theirs = api.create({**copied, "metadata": {"name": meta["name"], "namespace": meta["namespace"]}})
    return api.patch(theirs, {"metadata": {"labels": meta["labels"], "ownerReferences": meta["ownerReferences"]}})


def end_controlled_from_outside(theirs: ApiClient, job: Manifest, neighbour: str) -> None:
    """A neighbour's pod that names our Job as its controller ends with the neighbour's report, and is gone: its last words."""
    kind = job["metadata"]["labels"]["nnunet.dev/step"]
    pod = forged_pod_outside(job, neighbour)
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
    # The garbage collector deletes it at once, as its owner is not there; a finalizer holds it until it has ended.
    pod["metadata"] |= {"name": "a-forged", "ownerReferences": [owner], "finalizers": ["example.com/hold"]}
    made = theirs.create(pod)
    ended = {"exitCode": 0, "message": forged_end({"step": kind}).message, "startedAt": NOW, "finishedAt": NOW}
    container = {
        "name": "trainer", "image": "x", "imageID": "x", "ready": False, "restartCount": 0, "state": {"terminated": ended}
    }  # fmt: skip
    theirs.patch(made, {"status": {"phase": "Succeeded", "containerStatuses": [container]}}, sub="status")
    theirs.patch(made, {"metadata": {"finalizers": None}})
    wait_until(lambda: theirs.get("v1", "Pod", neighbour, "a-forged") is None, what="the forged pod to be gone")


def ended_or_gone(api: ApiClient, manifest: Manifest) -> bool:
    """Whether what was forged has said all that it has to say."""
    meta = manifest["metadata"]
    found = api.get(manifest["apiVersion"], manifest["kind"], meta["namespace"], meta["name"])
    if found is None:
        return True
    status = found.get("status") or {}
    return status.get("phase") == "Succeeded" or any(c["type"] == "Complete" for c in status.get("conditions") or [])


@pytest.mark.parametrize("kind", ["Dataset", "TrainingRun"])
def test_nothing_that_looks_like_a_child_speaks_for_an_object(
    control_plane: ControlPlane, namespace: str, neighbour: str, tmp_path: Path, kind: str
) -> None:
    api, released, theirs = control_plane.admin, threading.Event(), tenant(control_plane, neighbour)
    of = {"Dataset": "dataset", "TrainingRun": "train"}[kind]

    def script(order: Manifest, pod: Manifest) -> Ending | None:
        if pod["metadata"].get("annotations", {}).get("forged") == "yes":
            return forged_end(order)
        return succeed(order, pod) if order["step"] != of or released.is_set() else None

    wanted = {"Dataset": [dataset(namespace)], "TrainingRun": [dataset(namespace), plans(namespace), training_run(namespace)]}
    operator = OperatorProcess(control_plane, tmp_path, namespaces=[namespace, neighbour], environment=STORAGE)
    with operator, PretendKubelet(api, namespace, script), PretendKubelet(api, neighbour, script):
        about = api.apply_all(wanted[kind])[-1]
        ours = job_of(api, namespace, kind)
        assert ours["metadata"]["ownerReferences"][0]["uid"] == about["metadata"]["uid"]
        orders = [order for order in api.list("v1", "ConfigMap", namespace) if "order.json" in order.get("data", {})]
        for order in orders:
            meta = {"name": order["metadata"]["name"], "namespace": neighbour}
            theirs.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": order["data"]})
        with pytest.raises(ApiError, match="403"):
            theirs.create(copied_inside(ours, neighbour))
        forged = [theirs.create(forge(ours, neighbour)) for forge in OUTSIDE]
        forged = [*forged, *(api.create(forge(ours, neighbour)) for forge in INSIDE), adopt_by_hand(api, ours)]
        end_controlled_from_outside(theirs, ours, neighbour)
        wait_until(lambda: all(ended_or_gone(api, one) for one in forged), what="all that was forged to have ended")

        def stands() -> Manifest:
            return api.get(API_VERSION, kind, namespace, about["metadata"]["name"]) or {}

        # A pass over the object after all of that: a change of it is answered by one.
        edited = api.patch(stands(), {"spec": {"failurePolicy": {"maxRestarts": 7}}})
        generation = edited["metadata"]["generation"]
        wait_until(lambda: stands().get("status", {}).get("observedGeneration") == generation, what="a pass over the object")
        assert condition(stands())["status"] == "False"
        assert "forged" not in str(stands()["status"])
        mine = api.get("batch/v1", "Job", namespace, ours["metadata"]["name"])
        assert mine is not None
        assert mine["metadata"]["uid"] == ours["metadata"]["uid"]
        assert "deletionTimestamp" not in mine["metadata"]
        released.set()
        wait_until(lambda: condition(stands()).get("status") == "True", what=lambda: f"it to be Ready: {stands()}")
        assert "forged" not in str(stands()["status"])
        wait_until(
            lambda: api.get("batch/v1", "Job", namespace, ours["metadata"]["name"]) is None,
            what="our own Job to be deleted",
        )
        jobs = {job["metadata"]["uid"] for space in (namespace, neighbour) for job in api.list("batch/v1", "Job", space)}
        left = {one["metadata"]["uid"] for one in forged if one["kind"] == "Job" and one["metadata"]["namespace"] == namespace}
        assert left <= jobs, "what is not ours was deleted"
        assert operator.metric("nnunet_operator_errors_total") == 0


def test_a_job_of_somebody_else_in_the_place_of_ours_is_told_and_left(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api = control_plane.admin
    about = api.apply(dataset(namespace))
    uid = about["metadata"]["uid"]
    name = f"brain-{uid.replace('-', '')[:6]}-data-0"
    labels = {
        "app.kubernetes.io/managed-by": "nnunet-operator",
        "nnunet.dev/owner-kind": "Dataset",
        "nnunet.dev/owner-name": "brain",
        "nnunet.dev/owner-uid": uid,
        "nnunet.dev/step": "dataset",
        "nnunet.dev/attempt": "0",
    }
    container = {"name": "trainer", "image": "none", "command": ["none"]}
    spec = {"template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [container]}}}
    meta = {"name": name, "namespace": namespace, "labels": labels}
    theirs = api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec})
    start_operator()

    def stands() -> Manifest:
        return api.get(API_VERSION, "Dataset", namespace, "brain") or {}

    wait_until(lambda: condition(stands()).get("reason") == "ChildRefused", what=lambda: f"it to be told: {stands()}")
    message = condition(stands())["message"]
    assert f"Job {name} is there already and is not of this Dataset. Delete or rename it" in message
    found = api.get("batch/v1", "Job", namespace, name)
    assert found is not None
    assert found["metadata"]["uid"] == theirs["metadata"]["uid"]
    api.delete(theirs)
    with PretendKubelet(api, namespace, succeed):
        wait_until(lambda: condition(stands()).get("status") == "True", what=lambda: f"it to heal: {stands()}")
