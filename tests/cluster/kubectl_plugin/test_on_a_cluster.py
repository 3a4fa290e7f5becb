"""The words over real objects: an operator works, and no node runs anything."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.api.base import format_time
from support.apiclient import ApiClient, ApiError, Manifest, wait_until
from support.controlplane import ControlPlane
from support.third_party.kubectl import kubectl

from ..conftest import API_VERSION, StartOperator, condition, dataset, plans, training_run
from .conftest import Nnunet

pytestmark = pytest.mark.controlplane


def held_pod(api: ApiClient, namespace: str, message: str) -> Manifest:
    """The pod of the dataset's reading, as a kubelet leaves it that cannot mount a Secret."""
    pod = wait_until(lambda: next(iter(api.list("v1", "Pod", namespace)), None), what="the dataset's pod")
    now = format_time(datetime.now(UTC))
    waiting = {"name": "trainer", "state": {"waiting": {"reason": "ContainerCreating"}}, "ready": False, "restartCount": 0}
    waiting |= {"image": "example/trainer:1", "imageID": ""}
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
    api.patch(pod, {"status": {"phase": "Pending", "containerStatuses": [waiting], "conditions": [scheduled]}}, sub="status")
    about = {"kind": "Pod", "namespace": namespace, "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    api.create(
        {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "mount", "namespace": namespace}, "involvedObject": about,
            "type": "Warning", "reason": "FailedMount", "message": message, "count": 3,
            "firstTimestamp": now, "lastTimestamp": now,
        }
    )  # fmt: skip
    return pod


def test_from_what_was_applied_to_the_pods_event_and_back(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator, nnunet: Nnunet, programs: Path,
    monkeypatch: pytest.MonkeyPatch, kubeconfig: Path,
) -> None:  # fmt: skip
    api = control_plane.admin
    assert nnunet("status").err == f"No datasets, plans or training in namespace {namespace}.\n"
    start_operator()
    api.apply_all([training_run(namespace), plans(namespace), dataset(namespace)])
    pod = held_pod(api, namespace, 'MountVolume.SetUp failed for volume "secret-s3" : secret "s3" not found')
    for kind, name, reason in (
        ("Dataset", "brain", "Starting"), ("Plans", "brain", "WaitingForDataset"), ("TrainingRun", "run", "WaitingForPlans"),
    ):  # fmt: skip
        wait_until(
            lambda kind=kind, name=name, reason=reason: (
                condition(api.get(API_VERSION, kind, namespace, name)).get("reason") == reason
            ),
            what=f"{kind} {name} to be {reason}",
        )
    said = nnunet("status").out
    lines = [" ".join(line.split()[:3]) for line in said.splitlines()]
    assert lines[1:] == [
        "dataset/brain Starting Dataset001_Brain,",
        "├─ reading Dataset001_Brain",
        "└─ plans/brain WaitingForDataset",
        "└─ trainingrun/run WaitingForPlans",
    ]

    said = nnunet("why", "run").out
    subjects = [line.lstrip(" ├└─│").split(":")[0] for line in said.split("\n\n")[0].splitlines()]
    job = pod["metadata"]["name"].rsplit("-", 1)[0]
    assert [subject for subject in subjects if "/" in subject or subject == "event"] == [
        "trainingrun/run", "plans/brain", "dataset/brain", f"job/{job}", f"pod/{pod['metadata']['name']}", "secret/s3", "event",
    ]  # fmt: skip
    assert "FailedMount" in said
    assert 'secret "s3" not found' in said
    assert said.endswith(
        f"What to do:\n  Create the Secret s3 in namespace {namespace}, or correct the name where it is referred to.\n"
    )

    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    as_plug_in = kubectl("nnunet", "status", "run", "-n", namespace, kubeconfig=control_plane.kubeconfig).stdout
    assert as_plug_in.splitlines()[-1].split()[1:3] == ["trainingrun/run", "WaitingForPlans"]

    assert nnunet("suspend", "run", "plans/brain").out.splitlines() == [
        "trainingrun.nnunet.dev/run suspended", "plans.nnunet.dev/brain suspended",
    ]  # fmt: skip
    suspended = wait_until(
        lambda: (found := api.get(API_VERSION, "TrainingRun", namespace, "run")) and found["spec"].get("suspend") and found,
        what="the change",
    )
    assert "kubectl-nnunet" in {entry["manager"] for entry in suspended["metadata"]["managedFields"]}
    assert "is suspended already" in nnunet("suspend", "run").out
    assert nnunet("resume", "nnrun/run", "plans/brain").out.startswith("trainingrun.nnunet.dev/run resumed")
    assert nnunet("rerun", "dataset/brain", "--value", "2").out == "dataset.nnunet.dev/brain rerun (2): its source is read again\n"
    changed = api.get(API_VERSION, "Dataset", namespace, "brain")
    assert changed is not None
    assert changed["spec"]["rerun"] == "2"

    data = json.loads(nnunet("status", "-o", "json").out)
    assert [(root["kind"], root["children"][0]["children"][0]["name"]) for root in data] == [("Dataset", "run")]
    assert namespace in nnunet("status", "-A").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("why", "nobody"), "There is no object named 'nobody'"),
        (("rerun", "dataset/nobody"), "There is no Dataset named 'nobody'"),
        (("suspend", "a", "b"), "There is no object named 'a'"),
        (("logs", "nobody"), "There is no object named 'nobody'"),
        (("plot", "nobody"), "There is no TrainingRun named 'nobody'"),
        (("fetch", "dataset/nobody", "."), "this is for a TrainingRun"),
    ],
)
def test_a_name_that_nothing_bears_is_one_message(nnunet: Nnunet, words: tuple[str, ...], message: str) -> None:
    assert message in nnunet(*words, code=64).err


def test_another_context_and_another_cluster(nnunet: Nnunet, kubeconfig: Path, tmp_path: Path) -> None:
    said = nnunet("status", "--context", "test", code=64).err
    assert "There is no context named 'test'. Did you mean tests?" in said
    config: dict[str, Any] = json.loads(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    kubeconfig.write_text(json.dumps(config))
    said = nnunet("status", code=74).err
    assert said.startswith("NoCluster: https://127.0.0.1:1 does not answer:")
    assert "--context" in said
    kubeconfig.unlink()
    assert nnunet("status", code=64).err.startswith("NoCluster: No cluster can be reached with")


def test_a_user_who_may_not(control_plane: ControlPlane, namespace: str, nnunet: Nnunet, kubeconfig: Path) -> None:
    kubeconfig.write_text(control_plane.kubeconfig_for(namespace, "default").read_text())
    said = nnunet("status", "-n", namespace, code=78).err
    assert said.startswith(f"Forbidden: You may not list datasets in namespace {namespace}: datasets.nnunet.dev is forbidden")
    assert "rbac.aggregate" in said
    api = control_plane.admin
    api.apply(dataset(namespace))
    rbac, meta = "rbac.authorization.k8s.io", {"name": "reader", "namespace": namespace}
    rules = [{"apiGroups": ["nnunet.dev"], "resources": ["*"], "verbs": ["get", "list"]}]
    api.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    reference = {"apiGroup": rbac, "kind": "Role", "name": "reader"}
    api.apply({"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": [subject]})
    user = control_plane.client_for(namespace, "default")
    wait_until(lambda: _may_list(user, namespace), what="the Role to be heard of")
    assert "dataset/brain" in nnunet("status", "-n", namespace).out
    assert "You may not patch datasets" in nnunet("rerun", "dataset/brain", "-n", namespace, code=78).err
    assert "You may not list pods" in nnunet("logs", "dataset/brain", "-n", namespace, code=78).err
    config = json.loads(kubeconfig.read_text())
    config["users"][0]["user"]["token"] = "wrong"
    kubeconfig.write_text(json.dumps(config))
    assert "does not accept your credentials" in nnunet("status", code=78).err


def _may_list(user: ApiClient, namespace: str) -> bool:
    try:
        return bool(user.list(API_VERSION, "Dataset", namespace))
    except ApiError as error:
        if error.code != 403:
            raise
        return False
