"""The same seed gives the same samples, and so the same losses, however batches are read, made and handed over."""

import json
from pathlib import Path

import pytest
from nnunet_trainer.training.loop import iteration
from nnunet_trainer.training.loop.fold_training import train

FROZEN = json.loads(Path(__file__).with_name("frozen_losses.json").read_text())
"""Of a training and a validation step each, of three epochs of ten iterations."""
CALM = {"optimizer": {"learningRate": 0.003, "momentum": 0.9}}
"""So that the last bits, in which CPUs differ, stay the last ones."""


@pytest.fixture
def losses(monkeypatch):
    """The losses of every step."""
    found = {"train": [], "val": []}
    train_step, validation_step = iteration.train_step, iteration.validation_step

    def training(*arguments):
        loss = train_step(*arguments)
        found["train"].append(loss.item())
        return loss

    def validating(*arguments):
        loss, counts = validation_step(*arguments)
        found["val"].append(loss.item())
        return loss, counts

    monkeypatch.setattr(iteration, "train_step", training)
    monkeypatch.setattr(iteration, "validation_step", validating)
    return found


@pytest.mark.parametrize("configuration", ["3d_fullres", "2d"])
def test_the_losses_of_thirty_steps_stay_the_same(setup, losses, configuration):
    recipe = {"epochs": 3, "iterationsPerEpoch": 10, "validationIterations": 2, **CALM}
    train(setup(recipe, configuration=configuration))
    for purpose, expected in FROZEN[configuration].items():
        assert losses[purpose] == pytest.approx(expected, abs=1e-5)
