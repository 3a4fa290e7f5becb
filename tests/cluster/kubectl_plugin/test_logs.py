"""`logs` and `plot` through the API server, from a kubelet that serves what the test says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubectl_nnunet.commands import logs as command
from nnunet_operator.manifests import names
from support.apiclient import ApiClient, Manifest
from support.controlplane import ControlPlane
from support.kubelet_logs import LogServer

from ..conftest import training_run
from .conftest import Nnunet

pytestmark = pytest.mark.controlplane


class Trainings:
    """A run with pods of several folds and attempts, whose status a test writes."""

    def __init__(self, api: ApiClient, namespace: str, node: str) -> None:
        self.api, self.namespace, self.node = api, namespace, node
        self.run = api.apply(training_run(namespace, folds=["0", "1"]))
        self.pods: dict[str, Manifest] = {}

    def pod(self, fold: str, attempt: int, *, started: bool = True, ended: bool = False) -> str:
        """Make a Job that no controller looks after, and its pod; the pod's name."""
        meta = self.run["metadata"]
        labels = {names.OWNER_UID: meta["uid"], names.STEP: "train", names.FOLD: fold, names.ATTEMPT: str(attempt)}
        labels |= {names.MANAGED_BY: names.MANAGER, names.OWNER_KIND: "TrainingRun", names.OWNER_NAME: "run"}
        name = f"run-f{fold}-{attempt}"
        spec: dict[str, Any] = {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "none"}]}
        job = self.api.create(
            {
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
                "spec": {"managedBy": "example.com/tests", "template": {"spec": spec}},
            }
        )  # fmt: skip
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
        pod = self.api.create(
            {
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": f"{name}-x", "namespace": self.namespace, "labels": labels, "ownerReferences": [owner]},
                "spec": {**spec, "nodeName": self.node},
            }
        )  # fmt: skip
        self.pods[f"{name}-x"] = pod
        if started:
            self.be(f"{name}-x", {"terminated": {"exitCode": 75}} if ended else {"running": {"startedAt": "2026-11-01T12:00:00Z"}})
        return f"{name}-x"

    def be(self, pod: str, state: dict[str, Any]) -> None:
        """Write the state of a pod's container."""
        status = {"name": "trainer", "state": state, "ready": False, "restartCount": 0, "image": "none", "imageID": ""}
        self.api.patch(self.pods[pod], {"status": {"phase": "Running", "containerStatuses": [status]}}, sub="status")

    def say(self, reason: str, *folds: dict[str, Any], ready: bool = False) -> None:
        """Write the run's status."""
        now = "2026-11-01T12:00:00Z"
        generation = self.run["metadata"]["generation"]
        conditions = [{"type": "Ready", "status": str(ready), "reason": reason, "message": "", "lastTransitionTime": now}]
        status = {"observedGeneration": generation, "conditions": conditions, "folds": list(folds)}
        self.api.patch(self.run, {"status": status}, sub="status")


@pytest.fixture
def written() -> dict[str, list[str]]:
    """By pod, what it has written."""
    return {}


@pytest.fixture
def cut() -> dict[str, int]:
    """By pod, after how many lines the next answer ends."""
    return {}


@pytest.fixture
def trainings(
    control_plane: ControlPlane, namespace: str, written: dict[str, list[str]], cut: dict[str, int]
) -> Iterator[Trainings]:
    def logs(pod: str, query: dict[str, list[str]]) -> list[str]:
        lines = written[pod]
        if "timestamps" in query:  # a line a second
            lines = [f"2026-11-01T12:00:{second:02}{'.5' if second % 2 else ''}Z {line}" for second, line in enumerate(lines)]
        since = query.get("sinceTime", [""])[0].rstrip("Z").split(".")[0]
        lines = [line for line in lines if not since or line >= since]
        if pod in cut:
            return lines[: cut.pop(pod)]
        return lines[-int(query["tailLines"][0]) :] if "tailLines" in query else lines

    with LogServer(control_plane, f"node-{namespace}", logs) as server:
        yield Trainings(control_plane.admin, namespace, server.node)


def test_the_newest_attempt_of_each_fold_or_what_is_asked_for(
    trainings: Trainings, written: dict[str, list[str]], nnunet: Nnunet
) -> None:
    trainings.say("Training", {"name": "0", "state": "Running", "attempt": 1}, {"name": "1", "state": "Running", "attempt": 0})
    assert "there is no pod of it now" in nnunet("logs", "run").err
    for fold, attempt in (("0", 0), ("0", 1), ("1", 0)):
        written[trainings.pod(fold, attempt)] = [f"fold {fold}", "", f"attempt {attempt}"]
    assert nnunet("logs", "run", "--fold", "0").out == "fold 0\n\nattempt 1\n"
    assert nnunet("logs", "run", "--fold", "0", "--attempt", "1").out == "fold 0\n\nattempt 0\n"
    assert nnunet("logs", "run", "--fold", "1", "--tail", "1").out == "attempt 0\n"
    both = nnunet("logs", "run").out
    assert "==> fold 0, attempt 2 (run-f0-1-x) <==\nfold 0\n" in both
    assert "==> fold 1, attempt 1 (run-f1-0-x) <==" in both
    assert nnunet("logs", "run", "--attempt", "0").out.count("==>") == 3
    assert "There is no fold named '7'" in nnunet("logs", "run", "--fold", "7", code=64).err
    assert "has several at work: fold 0, fold 1" in nnunet("logs", "run", "--follow", code=64).err
    trainings.say("Completed", {"name": "0", "state": "Succeeded"}, {"name": "1", "state": "Succeeded"}, ready=True)


def test_following_goes_on_with_the_next_attempt_to_the_end(
    trainings: Trainings, written: dict[str, list[str]], nnunet: Nnunet, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings.say("Training", {"name": "0", "state": "Running", "attempt": 0})
    written[trainings.pod("0", 0, ended=True)] = ["first"]
    told = [
        lambda: trainings.say("TryAgain", {"name": "0", "state": "BackingOff", "attempt": 0}),
        lambda: written.update({trainings.pod("0", 1, ended=True): ["second"]}),
        lambda: trainings.say("Completed", {"name": "0", "state": "Succeeded"}, {"name": "1", "state": "Succeeded"}, ready=True),
    ]
    monkeypatch.setattr(command.time, "sleep", lambda _: told.pop(0)())
    said = nnunet("logs", "run", "--fold", "0", "--follow")
    assert said.out == "first\nsecond\n"
    assert said.err.count("Waiting for the next pod of trainingrun/run") == 2
    assert "==> fold 0, attempt 2 (run-f0-1-x) <==" in said.err
    assert told == []


def test_an_answer_that_ends_too_early_is_gone_on_with(
    trainings: Trainings, written: dict[str, list[str]], cut: dict[str, int], nnunet: Nnunet, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings.say("Training", {"name": "0", "state": "Running", "attempt": 0})
    pod = trainings.pod("0", 0)
    written[pod] = [f"line {number}" for number in range(9)]
    cut[pod] = 4

    def end(_: float) -> None:
        trainings.be(pod, {"terminated": {"exitCode": 0}})
        trainings.say("Completed", {"name": "0", "state": "Succeeded"}, {"name": "1", "state": "Succeeded"}, ready=True)

    monkeypatch.setattr(command.time, "sleep", end)
    assert nnunet("logs", "run", "--fold", "0", "-f").out.splitlines() == written[pod], "each line once"


def test_a_container_that_has_not_begun(trainings: Trainings, nnunet: Nnunet) -> None:
    trainings.say("Starting", {"name": "0", "state": "Starting", "attempt": 0})
    trainings.pod("0", 0, started=False)
    assert "fold 0, attempt 1 (run-f0-0-x) has not begun: kubectl nnunet why trainingrun/run" in nnunet("logs", "run").err


def test_curves_of_all_attempts(trainings: Trainings, written: dict[str, list[str]], nnunet: Nnunet, tmp_path: Path) -> None:
    def line(epoch: int) -> str:
        said = {"step": "train", "epoch": epoch, "epochs": 10, "trainLoss": -epoch / 10, "valLoss": -epoch / 20}
        return json.dumps({**said, "pseudoDice": epoch / 10, "learningRate": 0.01, "secondsPerEpoch": 2.0})

    trainings.say("Training", {"name": "0", "state": "Running", "attempt": 1, "epoch": 8, "epochs": 10})
    written[trainings.pod("0", 0)] = ["staging", *map(line, range(1, 6))]
    written[trainings.pod("0", 1)] = [*map(line, range(5, 9))]
    said = nnunet("plot", "run", "--fold", "0").out
    assert said.startswith("trainingrun/run, fold 0: 8 of 10 epochs\n")
    assert "train -0.8" in said
    assert "pseudo-Dice 0.8" in said
    assert f"epoch {7}" in said
    nnunet("plot", "run", "--fold", "0", "-o", str(tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "has 2 folds" in nnunet("plot", "run", "-o", "x.png", code=64).err
    assert "has finished no epoch" in nnunet("plot", "run", "--fold", "1", code=64).err
