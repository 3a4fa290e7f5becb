"""The configuration of a Plans that a run trains."""

from __future__ import annotations

from typing import Any

import pytest
from support.objects import API, dataset, first_pass, planned, plans, recipe, run
from support.world import MemoryWorld


def test_a_run_waits_for_its_own_configuration_alone() -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.put(plans(preprocessing={"configurations": ["2d", "3d_fullres"]}))
    world.put(run("flat", configuration="2d"))
    world.put(run("deep", configuration="3d_fullres"))
    for step in ("dataset", "plan"):
        world.settle()
        world.finish(world.job(step=step))
    world.settle()
    world.finish(world.job(configuration="2d", step="preprocess"))
    world.fail(world.job(configuration="3d_fullres", step="preprocess"), 65)
    world.settle()
    assert world.condition("TrainingRun", "flat")[1] == "Starting"
    assert world.condition("TrainingRun", "deep")[1] == "DependencyFailed"
    assert world.condition("Plans", "plans")[:2] == ("False", "BadData")
    assert world.condition("Plans", "plans", "Planned")[0] == "True"


def test_an_unknown_configuration_is_named_with_the_known_ones(prepared: MemoryWorld) -> None:
    prepared.put(run(configuration="3d_fulres"))
    prepared.settle()
    _status, reason, message = prepared.condition("TrainingRun", "run")
    assert reason == "UnknownConfiguration"
    assert "'3d_fulres'" in message
    assert "Did you mean 3d_fullres?" in message
    assert "Known: 2d, 3d_fullres" in message
    assert not prepared.jobs()


def test_a_configuration_that_nobody_preprocesses(prepared: MemoryWorld) -> None:
    prepared.put(run(configuration="2d"))
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "ConfigurationNotPreprocessed"
    prepared.edit("Plans", "plans", preprocessing={"configurations": ["3d_fullres", "2d"]})
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "WaitingForPlans"
    prepared.finish(prepared.job(configuration="2d", step="preprocess"))
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "Starting"


def test_a_configuration_that_the_plans_are_not_asked_for() -> None:
    world = MemoryWorld()
    world.put(plans(preprocessing={"configurations": ["2d"]}))
    reason, message, standing = first_pass(run(configuration="3d_fullres"), world)
    assert (reason, standing) == ("ConfigurationNotPreprocessed", "Stalled")
    assert "Add 3d_fullres to its spec.preprocessing.configurations" in message
    reason, message, standing = first_pass(run("other", configuration="3d_fulres"), world)
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
    assert "PlanTransfer moved's spec" in first_pass(run(configuration="2d", plansRef={"name": "moved"}), world)[1]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"workers": {"gpusPerNode": 4}}, "A batch of 2 (Plans plans) cannot be split over 4 GPUs"),
        ({"workers": {"nodes": 3, "gpusPerNode": 0}}, "over 3 GPUs"),
        ({"workers": {"gpusPerNode": 2}, **recipe(batchSize=1)}, "A batch of 1 (spec.trainer.recipe.batchSize)"),
        ({"workers": {"gpusPerNode": 4}, **recipe(batchSize=4)}, ""),
        ({"workers": {"gpusPerNode": 2}}, ""),
    ],
)
def test_a_batch_smaller_than_the_gpus(spec: dict[str, Any], said: str) -> None:
    world = MemoryWorld()
    planned(world, "plans", "a")
    reason, message, standing = first_pass(run(**spec), world)
    assert (reason, standing) == (("BatchSmallerThanWorld", "Stalled") if said else ("WaitingForPlans", "False")), message
    assert said in message


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
    reason, message, standing = first_pass(run(trainer={"name": trainer}), world)
    assert (reason, standing) == (("NetworkDoesNotFit", "Stalled") if parts else ("WaitingForPlans", "False")), message
    assert all(part in message for part in parts), message
