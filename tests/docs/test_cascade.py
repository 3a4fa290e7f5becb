"""The cascade's manifests, applied at once: on the real API server with pretended pods, and in the local shell."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from nnunet_operator.local.object_store.store import Store
from support import pages
from support.apiclient import ApiClient, Manifest, wait_until
from support.controlplane import ControlPlane
from support.operator import OperatorProcess
from support.pretend import Ending, PretendKubelet, fail, succeed, trainer_program

PAGE = "cascade.md"
API_VERSION = "nnunet.dev/v1alpha1"
STORAGE = {"NNUNET_STORAGE_URI": "s3://nnunet", "NNUNET_STORAGE_SECRET": "s3", "NNUNET_TRAINER_IMAGE": "example/trainer:1"}
FOLDS = ["0", "1", "2", "3", "4"]


def manifests(namespace: str, seed: int) -> list[Manifest]:
    """Those of the page, in any order."""
    (text,) = pages.blocks(PAGE, "yaml")
    found = [{**each, "metadata": {**each["metadata"], "namespace": namespace}} for each in yaml.safe_load_all(text)]
    random.Random(seed).shuffle(found)
    return found


class Cluster:
    """Pretended pods, of which those of the first stage's folds end as is asked."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.ending: dict[str, str] = {}
        """Of folds of the first stage: `well` or `badly`; the others go on."""

    def script(self, order: Manifest, pod: Manifest) -> Ending | None:
        if order.get("run") != "lowres":
            return succeed(order, pod)
        how = self.ending.get(order["fold"])
        if how == "badly":
            return fail("InvalidCases", "case_003: the label holds the value 7")(order, pod)
        return succeed(order, pod) if how else None

    def ready(self, name: str) -> tuple[str, str, str]:
        found = (self.api.get(API_VERSION, "TrainingRun", self.namespace, name) or {}).get("status", {}).get("conditions", [])
        one = next((each for each in found if each["type"] == "Ready"), {})
        return one.get("status", ""), one.get("reason", ""), one.get("message", "")

    def until(self, name: str, reason: str, *words: str) -> str:
        """Wait until a run is not Ready for a reason and says these words."""

        def said() -> str | None:
            _, found, message = self.ready(name)
            return message if found == reason and all(word in message for word in words) else None

        return wait_until(said, what=lambda: f"{name} to be {reason}: {words}; it is {self.ready(name)}")

    def edit(self, name: str, **spec: object) -> None:
        found = self.api.get(API_VERSION, "TrainingRun", self.namespace, name)
        assert found is not None
        self.api.patch(found, {"spec": spec})


@pytest.mark.controlplane
def test_on_a_cluster_the_second_stage_says_what_it_waits_for(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """A fold too few, then some of all, then one that fails, then all; no pod of the second stage before that."""
    api = control_plane.admin
    cluster = Cluster(api, namespace)
    wanted = manifests(namespace, seed=3)
    lowres = next(each for each in wanted if each["metadata"]["name"] == "lowres")
    lowres["spec"]["folds"] = FOLDS[:3]
    operator = OperatorProcess(control_plane, tmp_path, namespaces=[namespace], environment=STORAGE)
    with operator, PretendKubelet(api, namespace, cluster.script) as kubelet:
        api.apply_all([each for each in wanted if each is not lowres])
        cluster.until("cascade", "WaitingForTrainingRun", "TrainingRun lowres (spec.previousStage.runRef), which does not exist")
        api.apply(lowres)
        told = cluster.until("cascade", "PreviousStageMismatch")
        assert "trains folds 0, 1, 2 of 5: nobody predicts the cases of folds 3, 4. Add folds 3, 4 to its spec.folds." in told
        cluster.edit("lowres", folds=FOLDS)
        cluster.until("cascade", "WaitingForTrainingRun", "waits for TrainingRun lowres to train ")
        cluster.ending |= dict.fromkeys(FOLDS[:3], "well")
        cluster.until("cascade", "WaitingForTrainingRun", "waits for TrainingRun lowres to train folds 3, 4 (3 of 5 are trained)")
        cluster.ending["3"] = "badly"
        told = cluster.until("cascade", "DependencyFailed")
        assert told.startswith("Fold 3 of TrainingRun lowres is stalled (InvalidCases): ")
        assert "case_003: the label holds the value 7" in told
        assert not [order for order in kubelet.orders.values() if order.get("run") == "cascade"]
        cluster.ending |= dict.fromkeys(FOLDS, "well")
        cluster.edit("lowres", rerun="2")
        wait_until(lambda: cluster.ready("cascade")[0] == "True", what=lambda: str(cluster.ready("cascade")))
    (order,) = [order for order in kubelet.orders.values() if order.get("run") == "cascade"]
    assert order["previousStage"]["run"] == "lowres"
    assert sorted(order["previousStage"]["folds"]) == FOLDS


@pytest.mark.e2e
def test_in_the_local_shell(tmp_path: Path) -> None:
    """With the pretended trainer; the real one goes through the same stages in `trainer/steps/test_cascade.py`."""
    wanted = manifests("default", seed=1)
    raw = tmp_path / "raw"
    raw.mkdir()
    for each in wanted:
        if each["kind"] == "Dataset":
            each["spec"]["source"]["uri"] = str(raw)
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(wanted))
    command = [sys.executable, "-m", "nnunet_operator.cli", "local", "apply", "--store", "store", "-f", "all.yaml"]
    environment = {**os.environ, "NNUNET_TRAINER": str(trainer_program(tmp_path))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(tmp_path / "store")
    runs = {name: (store.get("TrainingRun", "default", name) or {})["status"] for name in ("lowres", "cascade")}
    assert [fold["state"] for fold in itertools.chain(*(run["folds"] for run in runs.values()))] == ["Succeeded"] * 6
    assert sorted(runs["cascade"]["previousStage"]) == FOLDS
