"""Killed with SIGKILL at random instants, a training ends with the weights, optimizer and history of one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_trainer.contract.work_order import TrainerChoice
from support.trainings import training_kills

from .conftest import RECIPE, Prepared

pytestmark = pytest.mark.xdist_group("ranks")  # one worker has the server that they are forked from

KILLS = 3


@pytest.mark.parametrize("world", [1, 2])
def test_killed_at_random_instants(prepared: Prepared, tmp_path: Path, world: int) -> None:
    recipe = {**RECIPE, "epochs": 2, "iterationsPerEpoch": 4, "validationIterations": 2}
    trainer = TrainerChoice(name="tiny", base="nnUNetTrainer", recipe=recipe)
    order = prepared.chain.train_order(prepared.data, prepared.plans, trainer=trainer)
    expected, seconds = training_kills.whole(order, world, tmp_path / "whole")
    outcome = training_kills.killed(order, world, tmp_path / "killed", kills=KILLS, seed=world, expected=expected, seconds=seconds)
    assert outcome.kills
    assert outcome.hung == []
    assert not outcome.lost, outcome.differences
    assert outcome.differences == []
