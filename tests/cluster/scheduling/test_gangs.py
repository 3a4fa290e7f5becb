"""Trainings on two nodes each, on three GPUs, with the real scheduler: all finish, with PodGroups and without."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nnunet_operator.cluster.preflight import POD_GROUPS
from support.apiclient import Manifest, wait_until
from support.controlplane import ControlPlane
from support.operator import OperatorProcess
from support.pretend import Ending, PretendKubelet, succeed

from ..conftest import API_VERSION, STORAGE, condition, dataset, grant, plans, training_run

pytestmark = pytest.mark.controlplane

RUNS = ("one", "two")
FAILURES = "nnunet_operator.reconcile.policies.failure_policy"
SECONDS = {f"{FAILURES}.FIRST_DELAY": 0.5, f"{FAILURES}.LONGEST_DELAY": 2}


class Team:
    """A namespace of a scheduler's, with two runs of two nodes that train until `released`."""

    def __init__(self, plane: ControlPlane, folder: Path, *, granted: bool) -> None:
        self.api, self.namespace, self.released = plane.admin, plane.create_namespace(scheduled=True), False
        self.operator = OperatorProcess(
            plane,
            folder,
            namespaces=[self.namespace],
            kubeconfig=grant(plane, self.namespace, *([POD_GROUPS] if granted else [])),
            environment=STORAGE,
            arguments=["--gang-scheduling"],
            seconds=SECONDS,
        )

    def script(self, order: Manifest, pod: Manifest) -> Ending | None:
        if order["step"] != "train":
            return succeed(order, pod)
        peers = self.pods(order["run"], job=pod["metadata"]["labels"]["job-name"])
        together = len(peers) == 2 and all(peer["status"].get("phase") in ("Running", "Succeeded") for peer in peers)
        return succeed(order, pod) if self.released and together else None

    def pods(self, run: str, *, job: str = "") -> list[Manifest]:
        labels = f"nnunet.dev/owner-kind=TrainingRun,nnunet.dev/owner-name={run}" + (f",job-name={job}" if job else "")
        return self.api.list("v1", "Pod", self.namespace, labels=labels)

    def placed(self, run: str) -> int:
        return sum("nodeName" in pod["spec"] for pod in self.pods(run))

    def run(self, name: str) -> Manifest:
        return self.api.get(API_VERSION, "TrainingRun", self.namespace, name) or {}

    def ready(self, name: str) -> bool:
        return condition(self.run(name)).get("status") == "True"

    def begin(self, deadline: int, restarts: int = 0) -> None:
        policy = {"maxRestarts": restarts, "preRunningDeadlineSeconds": deadline}
        self.api.apply_all([dataset(self.namespace), plans(self.namespace)])
        # The next attempt waits for the end of the grace, where its pods are not gone by then: on a slow machine they may not be.
        more = {"workers": {"nodes": 2, "gpusPerNode": 1}, "template": {"terminationGracePeriodSeconds": 1}}
        self.api.apply_all(training_run(self.namespace, name, failurePolicy=policy, **more) for name in RUNS)

    def said(self, of: str = "") -> list[str]:
        events = self.api.list("v1", "Event", self.namespace)
        return [event["message"] for event in events if of in ("", event["involvedObject"]["name"])]

    def state(self) -> str:
        pods = [(pod["metadata"]["name"], pod["spec"].get("nodeName"), pod["status"]) for run in RUNS for pod in self.pods(run)]
        return f"{[condition(self.run(name)) for name in RUNS]}\n{pods}\n{self.operator.log[-1500:]}"


@contextmanager
def three_gpus(plane: ControlPlane) -> Iterator[None]:
    """Three nodes that pretend to have a GPU each, and a scheduler."""
    api, prefix, nodes = plane.admin, f"gpu-{secrets.token_hex(3)}", []
    for name in (f"{prefix}-{i}" for i in range(3)):
        node = api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        amounts = {"cpu": "8", "memory": "32Gi", "pods": "16", "nvidia.com/gpu": "1"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "pretended"}
        api.patch(node, {"status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}}, sub="status")
        # A new node is taken to be not ready, and no node controller runs here to take that back.
        nodes.append(api.patch(node, {"spec": {"taints": None}}))
    try:
        with plane.scheduler():
            yield
    finally:
        for node in nodes:
            api.delete(node)


def test_without_pod_groups_a_half_started_run_gives_its_node_back_and_both_finish(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    team = Team(control_plane, tmp_path, granted=False)
    with three_gpus(control_plane), team.operator, PretendKubelet(team.api, team.namespace, team.script):
        assert "--gang-scheduling is ignored: the API server has no PodGroups" in team.operator.log
        team.begin(deadline=2, restarts=100)
        wait_until(lambda: any("gave its nodes back" in text for text in team.said()), what=team.state)
        half_started = lambda: [text for text in team.said() if "within 2s of its first pod's start pod" in text]  # noqa: E731
        wait_until(lambda: any("nvidia.com/gpu" in text for text in half_started()), what=team.state)
        wait_until(lambda: 2 in [team.placed(name) for name in RUNS], what=lambda: f"one to have all: {team.state()}")
        team.released = True
        wait_until(lambda: all(team.ready(name) for name in RUNS), what=team.state)
        for name in RUNS:
            fold = team.run(name)["status"]["folds"][0]
            # On a slow machine a pod that has its node may need longer than two seconds: that alone counts.
            late = [text for text in team.said(name) if "did not run within 2s of being scheduled" in text]
            assert (fold.get("restarts", 0), fold.get("disruptions", 0)) == (len(late), 0), "giving back counts as neither"
    control_plane.delete_namespace(team.namespace)


@pytest.fixture(scope="module")
def plane_with_pod_groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that offers gang scheduling."""
    folder = tmp_path_factory.mktemp("gangs") / "plane"
    plane = ControlPlane(folder, features=["GenericWorkload"], apis=["scheduling.k8s.io/v1beta1"]).start()
    try:
        yield plane
    finally:
        plane.stop()


def test_with_pod_groups_none_is_half_started_and_both_finish(plane_with_pod_groups: ControlPlane, tmp_path: Path) -> None:
    plane = plane_with_pod_groups
    team = Team(plane, tmp_path, granted=True)
    with three_gpus(plane), team.operator, PretendKubelet(team.api, team.namespace, team.script):
        team.begin(deadline=60)  # between the starts of one run's pods: on a slow machine they are not at the same moment
        wait_until(
            lambda: sorted((len(team.pods(name)), team.placed(name)) for name in RUNS) == [(2, 0), (2, 2)],
            what=team.state,
        )
        waits = next(name for name in RUNS if team.placed(name) == 0)
        wait_until(lambda: condition(team.run(waits)).get("reason") == "Unschedulable", what=team.state)
        team.released = True
        wait_until(lambda: all(team.ready(name) for name in RUNS), what=team.state)
        assert [team.run(name)["status"]["folds"][0]["attempt"] for name in RUNS] == [0, 0]
        assert not any("gave its nodes back" in text for text in team.said())
        wait_until(
            lambda: not team.api.list("scheduling.k8s.io/v1beta1", "PodGroup", team.namespace), what="the PodGroups to be gone"
        )
