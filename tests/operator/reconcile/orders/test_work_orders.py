"""Work orders as they are frozen in ConfigMaps, byte by byte: of specs that say nothing, and of specs that say all there is.

The runs had begun with version 0.1.0, so their seeds are of their uids. A run that begins now differs in its seed alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nnunet_operator.reconcile.view import Key
from support.world import CHAIN, MemoryWorld

FROZEN = Path(__file__).parent / "frozen"
API = "nnunet.dev/v1alpha1"
IMAGE = {"image": "ours:1"}  # may know more names than the operator
STORE = {"uri": "s3://team/results", "endpoint": "https://s3.example.org", "region": "eu", "pathStyle": True, "secretName": "team"}
DATASET = {"name": "Dataset004_Hippocampus", "source": {"uri": "s3://hospital/raw"}}
SOURCE = {
    "uri": "s3://hospital/raw",
    "endpoint": "https://other.example.org",
    "region": "eu-2",
    "pathStyle": False,
    "secretName": "hospital",
    "caConfigMap": "hospital-ca",
    "layout": "MSD",
}
PLANNER = {
    "name": "nnUNetPlannerResEncL",
    "gpuMemoryGB": 20.5,
    "targetSpacing": [3, 0.75, 0.75],
    "parameters": {"own": 1},
    "perConfiguration": {"2d": {"gpuMemoryGB": 8, "parameters": {"other": 2}}, "3d_fullres": {"name": "ExperimentPlanner"}},
}
TRAINER = {"name": "nnUNetTrainerOurs", "base": "nnUNetTrainer", "recipe": {"epochs": 20, "loss": "DiceCE"}}
FULL: list[tuple[str, str, dict[str, Any]]] = [
    ("Dataset", "data", {"name": "Dataset004_Hippocampus", "source": SOURCE, "fingerprint": {"extractor": "OurExtractor"},
                         "splits": {"groupBy": "^(.*)_"}}),
    ("Plans", "plans", {"datasetRef": {"name": "data"}, "planner": PLANNER, "plansName": "nnUNetPlans_ours",
                        "patch": {"configurations": {"2d": {"batch_size": 4}}},
                        "preprocessing": {"configurations": ["3d_fullres"], "shards": 4}}),
    ("Plans", "moved", {"datasetRef": {"name": "data"}, "plansName": "nnUNetPlans_moved", "patch": {"null": None},
                        "transferFrom": {"plansRef": {"name": "plans"}, "normalization": "Recompute",
                                         "intensityProperties": "Recompute", "onMismatch": "Fail"}}),
    ("TrainingRun", "first", {"plansRef": {"name": "plans"}, "folds": ["0", "1"]}),
    ("TrainingRun", "run", {"plansRef": {"name": "plans"}, "folds": ["3"], "trainer": TRAINER, "seed": 7, "deterministic": True,
                            "pretrained": {"runRef": {"name": "first", "fold": "1"}, "checkpoint": "best",
                                           "inputChannels": "Repeat", "heads": "MatchByLabel", "mismatched": "Skip"},
                            "workers": {"nodes": 2, "gpusPerNode": 0}, "validation": "Skip",
                            "checkpoint": {"everyEpochs": 5, "everyMinutes": 2.5, "keep": 3},
                            "plugins": [{"configMapName": "losses"}, {"configMapName": "blocks"}]}),
    ("TrainingRun", "file", {"plansRef": {"name": "plans"}, "folds": ["all"],
                             "pretrained": {"uri": "s3://zoo/a.pth", "endpoint": "https://zoo.example.org", "sha256": "ab" * 32}}),
]  # fmt: skip


def finish_everything(world: MemoryWorld, containers: dict[str, Any] | None = None) -> dict[str, str]:
    """The text of each work order, by the step and the owner of its Job; `containers` gets the container of each step."""
    texts: dict[str, str] = {}
    for _ in range(10):
        world.settle()
        for job in world.jobs():
            labels = job["metadata"]["labels"]
            name = "-".join(labels[f"nnunet.dev/{key}"] for key in ("step", "owner-name", "fold") if f"nnunet.dev/{key}" in labels)
            volumes = job["spec"]["template"]["spec"]["volumes"]
            frozen = next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "order")
            texts[name] = world.objects[Key("ConfigMap", "default", frozen)]["data"]["order.json"]
            if containers is not None:
                containers[labels["nnunet.dev/step"]] = job["spec"]["template"]["spec"]["containers"][0]
            if not job.get("status"):
                world.finish(job)
    return texts


def full() -> MemoryWorld:
    world = MemoryWorld()
    for kind, name, spec in FULL:
        shared = {"storage": STORE, "template": IMAGE, **spec}
        world.put({"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": shared})
    return world


def minimal() -> MemoryWorld:
    world = MemoryWorld()
    world.put(CHAIN)
    world.put({"apiVersion": API, "kind": "TrainingRun", "metadata": {"name": "run"},
               "spec": {"plansRef": {"name": "plans"}, "folds": ["0"]}})  # fmt: skip
    world.put({"apiVersion": API, "kind": "Plans", "metadata": {"name": "moved"},
               "spec": {"datasetRef": {"name": "data"}, "transferFrom": {"plansRef": {"name": "plans"}}}})  # fmt: skip
    return world


def begun(world: MemoryWorld) -> MemoryWorld:
    """As version 0.1.0 left it: each fold's first Job was asked for."""
    for key, run in world.objects.items():
        if key.kind == "TrainingRun":
            folds = [{"name": name, "state": "Starting", "attempt": 0} for name in run["spec"]["folds"]]
            run["status"] = {"observedGeneration": 1, "folds": folds}
    return world


def frozen_orders(world: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FROZEN / f"{world.__name__}.json").read_text())
    return found


def as_text(order: dict[str, Any]) -> str:
    return json.dumps(order, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("world", [full, minimal], ids=lambda made: made.__name__)
def test_orders_are_what_they_were(world: Any) -> None:
    frozen, texts = frozen_orders(world), finish_everything(begun(world()))
    assert texts.keys() == frozen.keys()
    for name, text in texts.items():
        assert json.loads(text) == frozen[name], name
        assert text == as_text(frozen[name]), name


SEEDS = {"first": 3931893853, "file": 2134805978, "run": 3947535046}
"""Of `default/<name>`. Another number is another address: results would not be found again."""


@pytest.mark.parametrize("world", [full, minimal], ids=lambda made: made.__name__)
def test_a_run_that_begins_now_differs_in_its_seed_alone(world: Any) -> None:
    frozen, texts = frozen_orders(world), finish_everything(world())
    assert texts.keys() == frozen.keys()
    for name, text in texts.items():
        wanted = frozen[name]
        if name.startswith("train-") and wanted["seed"] != 7:
            wanted = {**wanted, "seed": SEEDS[wanted["run"]]}
        assert text == as_text(wanted), name


@pytest.mark.parametrize("calibrate", [True, False])
def test_a_calibration_has_its_own_resources(calibrate: bool) -> None:
    """The GPU that is asked for is the planning's; an older trainer refuses to plan without measuring."""
    world, gpu = MemoryWorld(), {"limits": {"nvidia.com/gpu": "1"}}
    world.put({"apiVersion": API, "kind": "Dataset", "metadata": {"name": "data"}, "spec": {**DATASET, "storage": STORE}})
    planner = {"calibrate": True, "resources": gpu} if calibrate else {}
    spec = {"datasetRef": {"name": "data"}, "storage": STORE, "planner": planner}
    world.put({"apiVersion": API, "kind": "Plans", "metadata": {"name": "plans"}, "spec": spec})
    containers: dict[str, Any] = {}
    texts = finish_everything(world, containers)
    order = json.loads(texts["plan-plans"])
    assert order.get("planner", {}).get("calibrate", False) is calibrate
    assert order.get("requires", {}) == ({"planner.calibrate": "0.2.0"} if calibrate else {})
    assert not any("calibrate" in text for name, text in texts.items() if name != "plan-plans")
    limits = {step: container.get("resources", {}).get("limits", {}) for step, container in containers.items()}
    assert (limits["plan"].get("nvidia.com/gpu"), limits["dataset"]) == ("1" if calibrate else None, {})
