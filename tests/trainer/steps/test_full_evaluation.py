"""Evaluations of whole images in the course of a training, as Jobs run them (nnU-Net v1's nnUNetTrainerV2_fullEvals)."""

from __future__ import annotations

import io
import json
import math
import os
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.artifact import Artifact, require
from nnunet_trainer.artifacts.location import child
from nnunet_trainer.contract.faults import Stopped
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import TrainerChoice
from nnunet_trainer.steps import train
from nnunet_trainer.training.recipes import presets

from .conftest import RECIPE, Prepared

V1 = "nnUNetTrainerV2_fullEvals"


def trainer(name: str, base: str = V1, **changes: Any) -> TrainerChoice:
    short = {key: value for key, value in RECIPE.items() if key != "validationIterations"}
    return TrainerChoice(name=name, base=base, recipe={**short, **changes})


NEVER_REACHED = trainer("fullV1", fullEvaluation={"targetDice": 1.0})


def run(prepared: Prepared, chosen: TrainerChoice, **changes: Any) -> tuple[Report, Artifact]:
    """Train a fold; its report and its artifact."""
    chain = prepared.chain
    report = chain.train(chain.train_order(prepared.data, prepared.plans, trainer=chosen, **changes))
    store = open_store(child(chain.storage, report.summary["folderUri"].removeprefix(chain.storage.uri + "/")))
    return report, require(store, "run")


def checkpoint(fold: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(io.BytesIO(fold.store.get(fold.key("checkpoint_final.pth"))), weights_only=True)
    return found


def evaluations(fold: Artifact) -> dict[str, dict[str, Any]]:
    """By epoch's folder the summaries; nothing else may be there."""
    found = sorted(path for path in fold.files if path.startswith("validation_after_ep_"))
    assert all(path.endswith("/summary.json") for path in found)
    return {path.partition("/")[0]: fold.read_json(path) for path in found}


def test_the_preset_evaluates_whole_images_after_each_epoch(prepared: Prepared) -> None:
    report, fold = run(prepared, NEVER_REACHED, validation="Run")
    logged, found = checkpoint(fold)["logging"], evaluations(fold)
    assert list(found) == ["validation_after_ep_0000", "validation_after_ep_0001"]
    for epoch, summary in enumerate(found.values()):
        assert logged["mean_fg_dice"][epoch] == pytest.approx(summary["foreground_mean"]["Dice"], abs=1e-12)
        assert logged["dice_per_class_or_region"][epoch] == [mean["Dice"] for mean in summary["mean"].values()]
        assert len(summary["metric_per_case"]) == 1
    assert logged["ema_fg_dice"][1] == pytest.approx(0.9 * logged["ema_fg_dice"][0] + 0.1 * logged["mean_fg_dice"][1])
    assert all(math.isnan(loss) for loss in logged["val_losses"])
    assert report.summary["valLoss"] is None
    assert report.summary["bestUri"]
    # This trainer mirrors nothing, so the final validation predicts what the last evaluation did, with the same weights.
    final = fold.read_json("validation/summary.json")
    assert final["mean"] == found["validation_after_ep_0001"]["mean"]
    assert not any(progress.warnings for progress in prepared.chain.heard)
    log = next(fold.store.get(fold.key(path)).decode() for path in fold.files if path.startswith("training_log"))
    assert log.count("Dice of whole images: Anterior ") == 2
    assert "val_loss" not in log
    assert "Pseudo dice [" not in log


def test_the_training_ends_where_its_target_is_reached(prepared: Prepared) -> None:
    chosen = trainer("reached", fullEvaluation={"targetDice": 0.0})
    report, fold = run(prepared, chosen)
    assert report.summary["epochs"] == 1
    assert len(checkpoint(fold)["logging"]["mean_fg_dice"]) == 1
    # The validation that was left out then is added without any more training.
    again, _ = run(prepared, chosen, validation="Run")
    assert again.summary["epochs"] == 1
    assert again.summary["checkpointSha256"] == report.summary["checkpointSha256"]
    assert again.summary["validationDice"] is not None


def test_between_evaluations_there_is_no_dice_and_they_change_nothing_else(prepared: Prepared) -> None:
    changes = {"epochs": 3, "validationIterations": 1}
    _, fold = run(prepared, trainer("everySecond", "nnUNetTrainer", **changes, fullEvaluation={"everyEpochs": 2}))
    _, without = run(prepared, trainer("without", "nnUNetTrainer", **changes))
    saved, other = checkpoint(fold), checkpoint(without)
    assert list(evaluations(fold)) == ["validation_after_ep_0001"]
    assert not evaluations(without)
    assert [math.isnan(dice) for dice in saved["logging"]["mean_fg_dice"]] == [True, False, True]
    ema = saved["logging"]["ema_fg_dice"]
    assert math.isnan(ema[0])
    assert ema[1] == ema[2] == saved["_best_ema"]
    for losses in ("train_losses", "val_losses"):
        assert saved["logging"][losses] == other["logging"][losses]
    same_weights(fold, without)


def same_weights(one: Artifact, other: Artifact) -> None:
    ours, theirs = (checkpoint(fold)["network_weights"] for fold in (one, other))
    for name in theirs:
        assert np.array_equal(ours[name], theirs[name]), name


def test_stopped_in_an_evaluation_nothing_is_trained_twice(prepared: Prepared) -> None:
    _, whole = run(prepared, NEVER_REACHED, validation="Run")
    halves = replace(NEVER_REACHED, name="halves")

    def stop(progress: Progress) -> None:
        if progress.phase == "validating" and progress.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=r"The full evaluation was stopped .*begins anew from the checkpoint that was saved before"):
        train.carry_out(prepared.chain.train_order(prepared.data, prepared.plans, trainer=halves), stop)
    prepared.chain.heard.clear()
    report, fold = run(prepared, halves, attempt=1)
    assert report.summary["resumedFromEpoch"] == 1
    same_weights(fold, whole)
    ours, theirs = (checkpoint(f)["logging"] for f in (fold, whole))
    for key in ("mean_fg_dice", "ema_fg_dice", "train_losses", "dice_per_class_or_region"):
        assert ours[key] == theirs[key]
    assert {name: s["mean"] for name, s in evaluations(fold).items()} == {name: s["mean"] for name, s in evaluations(whole).items()}


def test_the_numbers_of_version_1() -> None:
    recipe = presets.recipe(V1)
    assert recipe.validation_iterations == 0
    assert recipe.full_evaluation is not None
    assert recipe.full_evaluation.every_epochs == 1
    assert recipe.full_evaluation.target_dice == pytest.approx(0.97 * np.mean((0.911, 0.8739, 0.7848)), abs=1e-6)
    base = presets.PRESETS[V1][0]
    assert base == "nnUNetTrainerV2"
    changes = json.dumps(presets.PRESETS[V1][1])
    assert "epochs" not in changes.replace("everyEpochs", "")  # as many as nnUNetTrainerV2
