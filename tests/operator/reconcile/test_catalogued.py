"""What a spec names and cannot have is a condition of the first pass, before a Job is made."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.reconcile.view import Settings
from support.world import STORAGE, MemoryWorld

API = "nnunet.dev/v1alpha1"


def dataset(**spec: Any) -> dict[str, Any]:
    spec = {"name": "Dataset004_Hippocampus", "source": {"uri": "s3://nnunet/raw/Dataset004_Hippocampus"}, **spec}
    return {"apiVersion": API, "kind": "Dataset", "metadata": {"name": "data"}, "spec": spec}


def plans(name: str = "plans", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": "Plans", "metadata": {"name": name}, "spec": {"datasetRef": {"name": "data"}, **spec}}


def run(name: str = "run", **spec: Any) -> dict[str, Any]:
    spec = {"plansRef": {"name": "plans"}, "folds": ["0", "1"], **spec}
    return {"apiVersion": API, "kind": "TrainingRun", "metadata": {"name": name}, "spec": spec}


def said(manifest: dict[str, Any], world: MemoryWorld | None = None) -> tuple[str, str, str]:
    """Ready after the object's first pass, and whether it is Stalled."""
    world = world or MemoryWorld()
    world.put(manifest)
    world.turn()
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    stalled = world.condition(kind, name, "Stalled")[0] == "True"
    status, reason, message = world.condition(kind, name)
    return reason, message, "Stalled" if stalled else status


def recipe(**changes: Any) -> dict[str, Any]:
    return {"trainer": {"name": "mine", "base": "nnUNetTrainer", "recipe": changes}}


REFUSED: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "trainer": (run(trainer={"name": "nnUNetTrainr"}), "UnknownTrainer", ("Did you mean nnUNetTrainer", "create another")),
    "base": (
        run(trainer={"name": "mine", "base": "nnUNetTrainerBM", "recipe": {"epochs": 3}}),
        "UnknownTrainer",
        ("nnUNetTrainerBN",),
    ),
    "name taken": (
        run(trainer={"name": "nnUNetTrainerAdam", "base": "nnUNetTrainer", "recipe": {"epochs": 3}}),
        "TrainerNameTaken",
        ("needs a name of its own", "base: nnUNetTrainerAdam"),
    ),
    "field": (run(**recipe(epoch=3)), "InvalidRecipe", ("recipe.epoch: there is no such field; did you mean epochs?",)),
    "range": (run(**recipe(epochs=0)), "InvalidRecipe", ("recipe.epochs: 0 is out of range; an integer at least 1",)),
    "loss": (run(**recipe(loss="DiceC")), "UnknownLoss", ("recipe.loss:", "Did you mean DiceCE")),
    "parameter": (
        run(**recipe(optimizer={"momentun": 0.9})),
        "InvalidRecipe",
        ("SGD has no such parameter; did you mean momentum",),
    ),
    "no validation at all": (
        run(**recipe(validationIterations=0)),
        "InvalidRecipe",
        ("recipe.validationIterations is 0, and there is no recipe.fullEvaluation",),
    ),
    "fp16 without a GPU": (
        run(**recipe(precision="fp16"), workers={"gpusPerNode": 0}),
        "InvalidRecipe",
        ("fp16 needs a GPU, and spec.workers.gpusPerNode is 0", "bf16"),
    ),
    "beside a plug-in": (run(**recipe(epochs=0), plugins=[{"configMapName": "mine"}]), "InvalidRecipe", ("0 is out of range",)),
    "in another image": (run(**recipe(epochs=0), template={"image": "mine:1"}), "InvalidRecipe", ("0 is out of range",)),
    "planner": (plans(planner={"name": "ExperimentPlaner"}), "UnknownPlanner", ("Did you mean ExperimentPlanner", "another Plans")),
    "planner's parameter": (
        plans(planner={"parameters": {"maxPoolin": 3}}),
        "UnknownParameter",
        ("spec.planner.parameters: There is no parameter of ExperimentPlanner named 'maxPoolin'. Did you mean maxPooling?",),
    ),
    "planner's number": (
        plans(planner={"parameters": {"minBatchSize": 0}}),
        "InvalidParameter",
        ("spec.planner.parameters.minBatchSize: 0 is out of range; an integer at least 1 was expected",),
    ),
    "a configuration's planner": (
        plans(planner={"perConfiguration": {"2d": {"name": "nnUNetPlannerResEncLL"}}}),
        "UnknownPlanner",
        ("nnUNetPlannerResEncL",),
    ),
    "a configuration's parameter": (
        plans(planner={"perConfiguration": {"2d": {"parameters": {"maxPooling": "3"}}}}),
        "InvalidParameter",
        ("spec.planner.perConfiguration.2d.parameters.maxPooling: an integer",),
    ),
    "a planner for no configuration": (
        plans(planner={"perConfiguration": {"2dd": {"gpuMemoryGB": 4}}}),
        "UnknownConfiguration",
        ("spec.planner.perConfiguration", "Did you mean 2d"),
    ),
    "preprocessing of no configuration": (
        plans(preprocessing={"configurations": ["3d_fulres"]}),
        "UnknownConfiguration",
        ("spec.preprocessing.configurations", "Did you mean 3d_fullres"),
    ),
    "extractor": (dataset(fingerprint={"extractor": "FingerprintExtractor"}), "UnknownExtractor", ("DatasetFingerprintExtractor",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_said_in_the_first_pass(name: str) -> None:
    manifest, expected, parts = REFUSED[name]
    world = MemoryWorld()
    reason, message, standing = said(manifest, world)
    assert (reason, standing) == (expected, "Stalled")
    assert all(part in message for part in parts), message
    world.settle()
    assert world.created == [], "no Job is made"


PASSED: dict[str, dict[str, Any]] = {
    "plug-in's loss": run(**recipe(loss={"name": "MyLoss", "factor": 2}), plugins=[{"configMapName": "mine"}]),
    "plug-in's trainer": run(trainer={"name": "nnUNetTrainerOfMine"}, plugins=[{"configMapName": "mine"}]),
    "image's trainer": run(trainer={"name": "nnUNetTrainerOfMine"}, template={"image": "mine:1"}),
    "image's field": run(**recipe(fieldOfTomorrow=1), template={"image": "mine:1"}),
    "image's planner": plans(planner={"name": "MyPlanner", "parameters": {"own": 1}}, template={"image": "mine:1"}),
    "image's extractor": dataset(fingerprint={"extractor": "Mine"}, template={"image": "mine:1"}),
    "any number of epochs": run(trainer={"name": "nnUNetTrainerBN_17epochs"}),
    "a configuration of the patch": plans(
        preprocessing={"configurations": ["small"]}, patch={"configurations": {"small": {"inherits_from": "3d_fullres"}}}
    ),
}


@pytest.mark.parametrize("name", PASSED)
def test_what_only_the_job_can_know_is_left_to_it(name: str) -> None:
    reason, message, standing = said(PASSED[name])
    assert standing == "False", message
    assert reason in ("WaitingForPlans", "WaitingForDataset", "Starting")


def test_plugins_that_are_installed_beside_the_trainer() -> None:
    world = MemoryWorld(Settings(storage=STORAGE.storage, names_pass=True))
    assert said(run(trainer={"name": "nnUNetTrainerOfMine"}), world)[0] == "WaitingForPlans"


def test_the_image_of_the_operator_is_no_other() -> None:
    image = Settings().trainer_image
    assert said(run(trainer={"name": "nnUNetTrainerOfMine"}, template={"image": image}))[0] == "UnknownTrainer"


def test_a_configuration_that_the_plans_are_not_asked_for() -> None:
    world = MemoryWorld()
    world.put(plans(preprocessing={"configurations": ["2d"]}))
    reason, message, standing = said(run(configuration="3d_fullres"), world)
    assert (reason, standing) == ("ConfigurationNotPreprocessed", "Stalled")
    assert "Add 3d_fullres to its spec.preprocessing.configurations" in message
    reason, message, standing = said(run("other", configuration="3d_fulres"), world)
    assert (reason, standing) == ("UnknownConfiguration", "Stalled")
    assert "Did you mean 3d_fullres" in message
    world.edit("Plans", "plans", preprocessing={"configurations": ["2d", "3d_fullres"]})
    world.turn()
    assert world.condition("TrainingRun", "run")[1] == "WaitingForPlans"


def test_a_configuration_of_a_transfers_plans_is_added_to_the_transfer() -> None:
    world = MemoryWorld()
    spec = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    world.put({"apiVersion": API, "kind": "PlanTransfer", "metadata": {"name": "moved"}, "spec": spec})
    world.turn()
    assert "PlanTransfer moved's spec" in said(run(configuration="2d", plansRef={"name": "moved"}), world)[1]


@pytest.mark.parametrize(
    ("configuration", "patch", "reason"),
    [("3d_fulres", {}, "UnknownConfiguration"), ("small", {"small": {}}, "Starting"), ("3d_fullres", {}, "Starting")],
)
def test_a_transfer_of_a_configuration_that_the_other_plans_do_not_have(
    prepared: MemoryWorld, configuration: str, patch: dict[str, Any], reason: str
) -> None:
    source = {"plansRef": {"name": "plans"}}
    moved = plans("moved", transferFrom=source, preprocessing={"configurations": [configuration]}, patch={"configurations": patch})
    found, message, _ = said(moved, prepared)
    assert found == reason, message
    if reason == "UnknownConfiguration":
        assert "configuration of Plans plans named '3d_fulres'. Did you mean 3d_fullres?" in message


def test_a_fold_that_the_pretrained_run_does_not_have_is_said_before_anything_is_planned() -> None:
    world = MemoryWorld()
    world.put(plans())
    world.put(run("source"))
    reason, message, standing = said(run(pretrained={"runRef": {"name": "source", "fold": "all"}}), world)
    assert (reason, standing) == ("UnknownFold", "Stalled")
    assert "its folds: 0, 1" in message


def planned(world: MemoryWorld, name: str, digest: str, batch: int = 2, patch: tuple[int, ...] = (8, 8, 8)) -> None:
    """A Plans that is planned, not preprocessed."""
    manifest = world.put(plans(name))
    row = {"name": "3d_fullres", "state": "Pending", "batchSize": batch, "patchSize": list(patch), "networkDigest": digest}
    artifact = {"uri": f"s3://nnunet/plans/{name}", "digest": name}
    storage = {"uri": "s3://nnunet"}
    work = {"state": "Succeeded", "attempt": 0, "input": name}
    manifest["status"] = {
        "observedGeneration": 1, "configurations": [row], "artifact": artifact, "storage": storage, "work": work
    }  # fmt: skip


PRETRAINED = {"runRef": {"name": "source", "fold": "0"}}


@pytest.mark.parametrize(
    ("its", "source", "mine", "reason"),
    [
        ("a", {}, {"pretrained": PRETRAINED}, "WaitingForPlans"),
        ("b", {}, {"pretrained": PRETRAINED}, "NetworksDiffer"),
        ("b", {}, {"pretrained": PRETRAINED, **recipe(epochs=3)}, "NetworksDiffer"),
        ("b", {}, {"pretrained": PRETRAINED, **recipe(network={"kernelSize": 3})}, "WaitingForPlans"),
        ("b", {"trainer": {"name": "nnUNetTrainerBN"}}, {"pretrained": PRETRAINED}, "WaitingForPlans"),
        ("b", {}, {"pretrained": {**PRETRAINED, "mismatched": "Skip"}}, "WaitingForPlans"),
        ("b", {}, {"pretrained": {"uri": "s3://nnunet/checkpoint.pth"}}, "WaitingForPlans"),
    ],
)
def test_weights_of_another_network_are_refused_before_they_are_trained(
    its: str, source: dict[str, Any], mine: dict[str, Any], reason: str
) -> None:
    world = MemoryWorld()
    planned(world, "plans", "a")
    planned(world, "others", its)
    world.put(run("source", plansRef={"name": "others"}, **source))
    found, message, standing = said(run(**mine), world)
    assert found == reason, message
    if reason == "NetworksDiffer":
        assert standing == "Stalled"
        assert "Plans plans, 3d_fullres (a) and Plans others, 3d_fullres (b)" in message


@pytest.mark.parametrize(
    ("spec", "said_"),
    [
        ({"workers": {"gpusPerNode": 4}}, "A batch of 2 (Plans plans) cannot be split over 4 GPUs"),
        ({"workers": {"nodes": 3, "gpusPerNode": 0}}, "over 3 GPUs"),
        ({"workers": {"gpusPerNode": 2}, **recipe(batchSize=1)}, "A batch of 1 (spec.trainer.recipe.batchSize)"),
        ({"workers": {"gpusPerNode": 4}, **recipe(batchSize=4)}, ""),
        ({"workers": {"gpusPerNode": 2}}, ""),
    ],
)
def test_a_batch_smaller_than_the_gpus(spec: dict[str, Any], said_: str) -> None:
    world = MemoryWorld()
    planned(world, "plans", "a")
    reason, message, standing = said(run(**spec), world)
    assert (reason, standing) == (("BatchSmallerThanWorld", "Stalled") if said_ else ("WaitingForPlans", "False")), message
    assert said_ in message


@pytest.mark.parametrize(
    ("trainer", "patch", "parts"),
    [
        ("nnUNet_Primus_S_Trainer", (64, 64), ("Primus is a network for 3D patches", "64×64", "create another TrainingRun")),
        ("nnUNet_Primus_S_Trainer", (64, 60, 64), ("no multiple", "[64, 64, 64]")),
        ("nnUNet_Primus_S_Trainer", (64, 64, 64), ()),
        ("nnUNetTrainer", (64, 60), ()),
    ],
)
def test_a_network_that_cannot_have_such_a_patch(trainer: str, patch: tuple[int, ...], parts: tuple[str, ...]) -> None:
    world = MemoryWorld()
    planned(world, "plans", "a", patch=patch)
    reason, message, standing = said(run(trainer={"name": trainer}), world)
    assert (reason, standing) == (("NetworkDoesNotFit", "Stalled") if parts else ("WaitingForPlans", "False")), message
    assert all(part in message for part in parts), message
