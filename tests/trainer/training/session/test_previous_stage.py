"""The second stage of a cascade: trained with the previous stage's segmentations."""

import numpy as np
import pytest
import torch
from nnunet_trainer import cli
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.preprocessing.previous_stage import write_previous_stage
from nnunet_trainer.preprocessing.storage import PreprocessedFolder
from nnunet_trainer.training.data.augmentation import augmentation_set
from nnunet_trainer.training.data.augmentation.transforms.previous_stage import PreviousStageTransform
from nnunet_trainer.training.data.case_memory import CaseMemory
from nnunet_trainer.training.data.sampling import PatchSampler
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.ranks.distributed import Ranks
from nnunet_trainer.training.recipes import presets
from nnunet_trainer.training.recipes.recipe import Recipe, read
from nnunet_trainer.training.session import preparation
from nnunet_trainer.training.session.preparation import prepare

from ..conftest import DATASET, plans

CONFIGURATION = "3d_cascade"
PLACE = f"predicted_next_stage/{CONFIGURATION}"
ALONE = Ranks(0, 1, 0, torch.device("cpu"))


def content():
    """The balls' plans as two stages at one spacing."""
    made = plans()
    made["configurations"]["first"] = {"inherits_from": "3d_fullres", "next_stage": CONFIGURATION}
    made["configurations"][CONFIGURATION] = {"inherits_from": "3d_fullres", "previous_stage": "first"}
    return made


def predict(folder, preprocessed, without=()):
    """The labels themselves in place of a first stage's predictions."""
    store = PreprocessedFolder(preprocessed / "nnUNetPlans_3d_fullres")
    for case in store.cases:
        if case not in without:
            write_previous_stage(folder, case, np.asarray(store.open(case).seg[:])[0], [8, 16, 16])
    return folder


@pytest.fixture
def second(setup, preprocessed):
    """A setup of the second stage; the first one's predictions lie where nnU-Net has them, but for those of `without`."""

    def make(changes=None, *, without=(), trainer="nnUNetTrainer_short", **more):
        made = setup(changes, plans=content(), configuration=CONFIGURATION, **more)
        predict(made.results / DATASET / f"{trainer}__nnUNetPlans__first" / PLACE, preprocessed, without)
        return made

    return make


def test_a_training_sees_the_previous_stage(second):
    session = prepare(second(), ALONE)
    batch = session.validation_sampler.batch(0, 0).mapped(torch.from_numpy)
    assert batch.seg.shape == (2, 2, 8, 16, 16)
    data, targets = session.validation_augmenter.augment(batch)
    assert data.shape[1] == 3
    for channel, label in ((1, 1), (2, 2)):
        assert torch.equal(data[:, channel], (targets[0][:, 0] == label).float())
    data, _ = session.augmenter.augment(session.sampler.batch(0, 0).mapped(torch.from_numpy))
    assert data.shape[1] == 3


def test_patches_of_cases_that_stay_compressed_are_the_same(second):
    session = prepare(second(), ALONE)
    shared = {"patch_size": [8, 16, 16], "batch_size": 4, "seed": 1, "fold": "0"}
    cases = session.training_cases
    lazy, kept = (PatchSampler(session.store, cases, **shared, memory=CaseMemory(cases, size)) for size in (0, 2**28))
    for iteration in range(3):
        assert np.array_equal(lazy.batch(0, iteration).seg, kept.batch(0, iteration).seg)


def test_a_second_stage_is_trained(second):
    result = train(second({"epochs": 1}))
    weights = checkpoint.load(result.checkpoint)["network_weights"]
    assert next(value for value in weights.values() if value.ndim == 5).shape[1] == 3
    assert np.isfinite(result.train_loss)


@pytest.mark.reference
def test_checkpoints_of_a_second_stage_are_exchanged(second, preprocessed, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed.parent))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "theirs"))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    made = second({"epochs": 1})
    result = train(made)
    trainer = nnUNetTrainer(
        content() | {"continue_training": False}, CONFIGURATION, 0, made.dataset_json, device=torch.device("cpu")
    )
    trainer.initialize()
    trainer.load_checkpoint(str(result.checkpoint))
    assert trainer.current_epoch == 1
    assert trainer.num_input_channels == 3
    batch = torch.randn(2, 3, 8, 16, 16)
    trainer.train_step({"data": batch, "target": [torch.zeros(2, 1, 8 // 2**i, 16 // 2**i, 16 // 2**i) for i in range(2)]})
    theirs = tmp_path / "theirs.pth"
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    trainer.save_checkpoint(str(theirs))
    again = train(second({"epochs": 3}, results=tmp_path / "again", resume=True, resume_from=[theirs], allow_pickle=True))
    assert (again.resumed_from_epoch, again.epochs) == (2, 3)


def test_cases_without_a_prediction_are_named_and_what_to_run(second):
    made = second(without=("ball_01", "ball_02"))
    with pytest.raises(BadData) as caught:
        prepare(made, ALONE)
    assert caught.value.reason == "MissingPreviousStage"
    assert "lacks those of ball_01, ball_02." in caught.value.message.replace("ball_02, ball_01", "ball_01, ball_02")
    assert caught.value.hint.startswith("Train folds 1, 2 of first with the final validation")


def test_predictions_of_another_trainer_are_pointed_out(second):
    made = second(trainer="nnUNetTrainer")
    with pytest.raises(BadData) as caught:
        prepare(made, ALONE)
    there = made.results / DATASET / "nnUNetTrainer__nnUNetPlans__first" / PLACE
    assert f"or say --previous-stage. There is {there}." in caught.value.hint
    for named in (there, there.parents[1]):
        made.previous_stage = named
        assert prepare(made, ALONE).store.previous_stage == there


def test_a_prediction_of_another_shape_is_told(second):
    made = second()
    folder = made.results / DATASET / "nnUNetTrainer_short__nnUNetPlans__first" / PLACE
    write_previous_stage(folder, "ball_03", np.zeros((3, 4, 5), np.uint8), [8, 16, 16])
    with pytest.raises(BadData, match="has shape 3×4×5, the preprocessed case 14×18×20"):
        prepare(made, ALONE).store.open("ball_03")


def test_a_next_stage_that_the_plans_lack_is_told_before_the_training(setup):
    made = plans()
    made["configurations"]["3d_fullres"]["next_stage"] = "gone"
    with pytest.raises(BadConfiguration, match="gone"):
        prepare(setup(plans=made, validation=True), ALONE)
    prepare(setup(plans=made, validation=False), ALONE)


def test_the_command_says_what_is_missing(preprocessed, tmp_path, capsys):
    import json
    import shutil

    folder = tmp_path / DATASET
    shutil.copytree(preprocessed, folder)
    (folder / "nnUNetPlans.json").write_text(json.dumps(content()))
    (folder / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "MRI"}, "labels": {"background": 0, "shell": 1, "core": 2}, "file_ending": ".nii.gz"})
    )
    options = ["--preprocessed", str(folder), "--configuration", CONFIGURATION, "--fold", "0", "-o", str(tmp_path / "results")]
    assert cli.main(["train", *options, "--previous-stage", str(tmp_path / "nowhere"), "--device", "cpu"]) == 65
    said = capsys.readouterr().err
    assert f"{tmp_path / 'nowhere'} lacks those of ball_0" in said


V1 = "nnUNetTrainerV2CascadeFullRes"
EVERY = PreviousStageTransform(operator_label_probability=1.0, removal_label_probability=1.0)
GUESS = {"operator_probability": 0.5, "operator_label_probability": 0.5, "radius": (1.0, 5.0)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", {}),
        ("_noConnComp", {"removal_probability": 0.0}),
        ("_smallerBinStrel", {"radius": (1.0, 5.0)}),
        ("_EducatedGuess", {**GUESS, "removal_limit": 0.1}),
        ("_EducatedGuess2", {**GUESS, "removal_probability": 0.0}),
        (
            "_EducatedGuess3",
            {**GUESS, "operator_probability": 1.0, "operator_label_probability": 0.33, "removal_probability": 0.0},
        ),
        ("_lowerLR", {}),
        ("_shorter", {}),
        ("_shorter_lowerLR", {}),
    ],
)
def test_version_1s_variants(name, expected):
    from dataclasses import replace

    recipe = presets.recipe(V1 + name)
    found = preparation.with_previous_stage_changes(augmentation_set(recipe.augmentation), recipe).previous_stage
    assert found == replace(EVERY, **expected)
    assert recipe.epochs == (500 if "shorter" in name else 1000)
    assert recipe.optimizer.parameters.get("learning_rate", 1e-2) == (1e-3 if "lowerLR" in name else 1e-2)


def test_a_recipe_changes_what_the_set_does_and_nothing_where_the_set_does_nothing():
    changed = read({"previousStage": {"radius": [2, 3], "removalLimit": 0.5}})
    found = preparation.with_previous_stage_changes(augmentation_set("default"), changed).previous_stage
    assert found == PreviousStageTransform(radius=(2.0, 3.0), removal_limit=0.5)
    assert preparation.with_previous_stage_changes(augmentation_set("none"), changed).previous_stage is None
    assert preparation.with_previous_stage_changes(augmentation_set("default"), Recipe()) == augmentation_set("default")
    with pytest.raises(BadConfiguration, match="radius"):
        read({"previousStage": {"radius": [0, 3]}})
