"""What a spec names and cannot have is a condition of the first pass, before a Job is made."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.reconcile.view import Settings
from support.objects import dataset, first_pass, plans, recipe, run
from support.world import STORAGE, MemoryWorld

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
        ("spec.planner.parameters: There is no parameter of ExperimentPlanner named 'maxPoolin'. Did you mean maxPooling",),
    ),
    "planner's number": (
        plans(planner={"parameters": {"minBatchSize": 0}}),
        "InvalidParameter",
        ("spec.planner.parameters.minBatchSize: 0 is out of range; an integer at least 1 was expected",),
    ),
    "preprocessing step": (
        plans(planner={"parameters": {"preprocessingSteps": ["Crop", "N4BiasField", "Normalize", "Resample"]}}),
        "UnknownPreprocessingStep",
        ("preprocessingSteps[1]", "Did you mean N4BiasFieldCorrection"),
    ),
    "preprocessing step's number": (
        plans(
            planner={
                "parameters": {"preprocessingSteps": ["Crop", "Normalize", "Resample", {"name": "ClipPercentiles", "low": -1}]}
            }
        ),
        "InvalidParameter",
        ("preprocessingSteps[3].low: -1 is out of range; a number between 0 and 100 was expected",),
    ),
    "normalization's parameter": (
        plans(
            planner={"parameters": {"normalizationRule": {"name": "SameForAll", "scheme": {"name": "CT2Normalization", "x": 1}}}}
        ),
        "InvalidParameter",
        ("spec.planner.parameters.normalizationRule.scheme.x: CT2Normalization has no such parameter",),
    ),
    "resampling": (
        plans(planner={"parameters": {"resampling": "resample_data_to_shape"}}),
        "UnknownResamplingFunction",
        ("spec.planner.parameters.resampling", "Did you mean resample_data_or_seg_to_shape"),
    ),
    "resampling's parameter": (
        plans(planner={"parameters": {"resampling": {"name": "resample_data_or_seg_to_shape", "order": 6}}}),
        "InvalidParameter",
        ("spec.planner.parameters.resampling.order: 6 is out of range; an integer between 0 and 5 was expected",),
    ),
    "order of preprocessing": (
        plans(planner={"perConfiguration": {"2d": {"parameters": {"preprocessingSteps": ["Resample", "Crop", "Normalize"]}}}}),
        "InvalidParameter",
        ("spec.planner.perConfiguration.2d.parameters.preprocessingSteps: Crop was expected first",),
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
    reason, message, standing = first_pass(manifest, world)
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
    reason, message, standing = first_pass(PASSED[name])
    assert standing == "False", message
    assert reason in ("WaitingForPlans", "WaitingForDataset", "Starting")


def test_plugins_that_are_installed_beside_the_trainer() -> None:
    world = MemoryWorld(Settings(storage=STORAGE.storage, names_pass=True))
    assert first_pass(run(trainer={"name": "nnUNetTrainerOfMine"}), world)[0] == "WaitingForPlans"


def test_the_image_of_the_operator_is_no_other() -> None:
    image = Settings().trainer_image
    assert first_pass(run(trainer={"name": "nnUNetTrainerOfMine"}, template={"image": image}))[0] == "UnknownTrainer"
