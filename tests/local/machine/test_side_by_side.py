"""How many trainings run beside one follows from the manifests: from who begins with whose results."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.local.machine.side_by_side import is_training, pods_beside
from nnunet_operator.manifests import names


def run(name: str, before: str = "", *, done: bool = False, space: str = "default", **spec: Any) -> dict[str, Any]:
    spec = {"plansRef": {"name": "plans"}, "configuration": "3d_fullres", "folds": ["0"], **spec}
    if before:
        spec["pretrained"] = {"runRef": {"name": before}}
    meta = {"name": name, "namespace": space, "uid": name, "generation": 1}
    status = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded"}]} if done else {}
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": meta, "spec": spec, "status": status}


def pod(owner: str, step: str = "train") -> dict[str, Any]:
    labels = {names.MANAGED_BY: names.MANAGER, names.OWNER_KIND: "TrainingRun", names.OWNER_NAME: owner, names.STEP: step}
    return {"metadata": {"name": f"{owner}-f0-0", "namespace": "default", "labels": labels}}


QUICKSTART = [run("pretrain"), run("scratch"), run("finetune", "pretrain")]


@pytest.mark.parametrize(
    ("runs", "of", "beside"),
    [
        pytest.param(QUICKSTART, "pretrain", 2, id="what waits for it does not run beside it"),
        pytest.param(QUICKSTART, "scratch", 2, id="nor beside its neighbour"),
        pytest.param(QUICKSTART, "finetune", 1, id="the last runs alone"),
        pytest.param([run("pretrain", done=True), *QUICKSTART[1:]], "finetune", 1, id="also when scratch is late"),
        pytest.param([run("pretrain", done=True), *QUICKSTART[1:]], "scratch", 1, id="what is done runs no more"),
        pytest.param([run("a", folds=["0", "1", "2"])], "a", 3, id="folds"),
        pytest.param([run("a", folds=["0", "1", "2"], maxParallelFolds=2), run("b")], "b", 3, id="so many folds at a time"),
        pytest.param([run("a", workers={"nodes": 2})], "a", 2, id="nodes"),
        pytest.param([run("a", "b"), run("b", "a"), run("c")], "c", 1, id="in a circle"),
        pytest.param([run("a", "gone"), run("b")], "a", 2, id="after one that is not there"),
        pytest.param([run("a"), run("b", space="other")], "a", 2, id="in all namespaces: there is one machine"),
        pytest.param([], "a", 1, id="its run is gone"),
    ],
)
def test_those_of_one_level_run_side_by_side(runs: list[dict[str, Any]], of: str, beside: int) -> None:
    assert pods_beside(pod(of), runs) == beside


@pytest.mark.parametrize(("step", "trains"), [("train", True), ("preprocess", False), ("plan", False)])
def test_only_trainings_are_counted(step: str, trains: bool) -> None:
    assert is_training(pod("a", step)) is trains
