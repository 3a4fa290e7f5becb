"""A node that never comes back, on a real API server: its Node and its pod stay, and the next attempt starts all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.apiclient import Manifest, wait_until
from support.controlplane import NODE, ControlPlane
from support.operator import OperatorProcess
from support.pretend import Ending, PretendKubelet, succeed

from ..conftest import API_VERSION, STORAGE, condition, dataset, grant, plans, training_run

pytestmark = pytest.mark.controlplane


class KubeletWithDeadNode(PretendKubelet):
    """Nobody cares for the pods of `dead`, by name: their node is away."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.dead: set[str] = set()

    def _care_for(self, pod: Manifest) -> None:
        if pod["metadata"]["name"] not in self.dead:
            super()._care_for(pod)


def test_the_next_attempt_starts_beside_the_pod_that_stays(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    api, nodes = control_plane.admin, 2

    def script(order: Manifest, pod: Manifest) -> Ending | None:
        waits = order["step"] == "train" and pod["metadata"]["labels"]["nnunet.dev/attempt"] == "0"
        return None if waits else succeed(order, pod)

    def pods(attempt: int) -> list[Manifest]:
        return api.list("v1", "Pod", namespace, labels=f"nnunet.dev/step=train,nnunet.dev/attempt={attempt}")

    def run() -> Manifest:
        return api.get(API_VERSION, "TrainingRun", namespace, "run") or {}

    operator = OperatorProcess(
        control_plane,
        tmp_path,
        namespaces=[namespace],
        kubeconfig=grant(control_plane, namespace),
        environment=STORAGE,
        seconds={"nnunet_operator.reconcile.observed.pods.LOST_AFTER": 2},
    )
    with operator, KubeletWithDeadNode(api, namespace, script) as kubelet:
        policy, workers = {"maxRestarts": 0}, {"nodes": nodes, "gpusPerNode": 0}
        api.apply_all([dataset(namespace), plans(namespace), training_run(namespace, failurePolicy=policy, workers=workers)])
        wait_until(
            lambda: [pod["status"].get("phase") for pod in pods(0)] == ["Running"] * nodes,
            what=lambda: f"all pods to run: {condition(run())}",
        )
        lost = max(pods(0), key=lambda pod: pod["metadata"]["name"])
        kubelet.dead.add(lost["metadata"]["name"])
        api.delete(lost, grace=1)
        wait_until(lambda: condition(run()).get("status") == "True", what=lambda: f"the run to be Ready: {run()['status']}")
        still = api.get("v1", "Pod", namespace, lost["metadata"]["name"])
        assert still is not None, "the test is of a pod that stays"
        assert (still["metadata"]["uid"], still["status"]["phase"]) == (lost["metadata"]["uid"], "Running")
        assert api.get("v1", "Node", None, NODE) is not None
        fold = run()["status"]["folds"][0]
        assert (fold["attempt"], fold.get("restarts", 0), fold["disruptions"]) == (1, 0, 1)
        attempts = [pod for pod, order in kubelet.orders.items() if order["step"] == "train"]
        assert len(attempts) == 2 * nodes, "the next attempt was seen to run"
        said = [event["message"] for event in api.list("v1", "Event", namespace) if event["reason"] == "Disrupted"]
        assert any("was lost with its node (node node-0): its pod was to end by" in message for message in said), said
        api.delete(still, grace=0)
