"""Curves from what trainings write."""

from __future__ import annotations

import io
import json
import math

import pytest
from nnunet_operator.inspection import training_curves
from nnunet_operator.inspection.training_curves import Epoch
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.report.progress_log import ProgressLog

LOG = """
2026-11-01 12:00:00.000001: Using torch.compile...
2026-11-01 12:00:01.500000: Epoch 0
2026-11-01 12:00:01.500000: Current learning rate: 0.01
2026-11-01 12:00:11.500000: train_loss 0.1234
2026-11-01 12:00:11.500000: val_loss -0.0500
2026-11-01 12:00:11.500000: Pseudo dice [0.5, 0.7]
2026-11-01 12:00:11.500000: Epoch time: 10.02 s
2026-11-01 12:00:12.500000: Epoch 1
2026-11-01 12:00:12.500000: Current learning rate: 0.00999
2026-11-01 12:00:20.500000: train_loss -0.2
2026-11-01 12:00:20.500000: val_loss -0.3
2026-11-01 12:00:20.500000: Pseudo dice [0.8, nan]
2026-11-01 12:00:20.500000: Epoch time: 8.00 s
2026-11-01 12:00:20.600000: Yayy! New best EMA pseudo Dice: 0.6
2026-11-01 12:00:21.500000: Epoch 2
2026-11-01 12:00:21.500000: Current learning rate: 0.00998
"""


def test_nnunets_log() -> None:
    curves = training_curves.joined(training_curves.of_training_log(LOG))
    assert list(curves) == [0, 1], "an epoch that is not finished is none"
    assert curves[0] == Epoch(
        train_loss=0.1234,
        val_loss=-0.05,
        pseudo_dice=pytest.approx(0.6),
        ema_pseudo_dice=pytest.approx(0.6),
        learning_rate=0.01,
        seconds=10.02,
    )
    assert curves[1].pseudo_dice == 0.8
    assert curves[1].ema_pseudo_dice == pytest.approx(0.9 * 0.6 + 0.1 * 0.8)


@pytest.mark.parametrize(
    ("line", "dice"),
    [
        ("Pseudo dice [0.5, 0.7]", 0.6),
        ("Pseudo dice [np.float32(0.5), np.float32(0.7)]", 0.6),
        ("Pseudo dice [nan, nan]", None),
        ("Pseudo dice []", None),
        ("Mean Dice 0.6100, target 0.9000", 0.61),
        ("Mean Dice 0.9100, target 0.9000: reached, the training ends", 0.91),
    ],
)
def test_how_dice_is_written(line: str, dice: float | None) -> None:
    curves = training_curves.of_training_log(f"Epoch 0\ntrain_loss 1\n{line}\n")
    assert curves[0].pseudo_dice == (None if dice is None else pytest.approx(dice))


def test_a_pods_log_as_the_trainer_writes_it() -> None:
    file = io.StringIO()
    log = ProgressLog(file)
    for epoch in range(4):
        numbers = {"train_loss": 0.5 - epoch, "val_loss": 0.4 - epoch, "ema_pseudo_dice": epoch / 10} if epoch else {}
        log(Progress(step="train", phase="training", epoch=epoch, epochs=10, learning_rate=0.01, **numbers))
        log(Progress(step="train", phase="validating patches", epoch=epoch, epochs=10))
    file.write("not json at all\n{half\n")
    lines = ["2026-11-01T12:00:00Z " + line for line in file.getvalue().splitlines()]  # `kubectl logs --timestamps`
    for text in (file.getvalue().splitlines(), lines):
        curves = training_curves.of_progress_lines(text)
        assert {number: epoch.train_loss for number, epoch in curves.items()} == {0: -0.5, 1: -1.5, 2: -2.5}
        assert curves[2].ema_pseudo_dice == pytest.approx(0.3)


@pytest.mark.parametrize("value", ["NaN", "1e999", '"text"', "null", "true", "[]"])
def test_values_that_are_no_numbers(value: str) -> None:
    line = f'{{"step":"train","epoch":1,"trainLoss":{value},"valLoss":-0.5}}'
    curves = training_curves.of_progress_lines([line, '{"step":"train","epoch":"x"}', '{"step":"preprocess","epoch":3}'])
    assert curves == {0: Epoch(val_loss=-0.5)}


def test_pieces_of_several_attempts_make_one_curve() -> None:
    first = {number: Epoch(train_loss=1.0, seconds=5) for number in range(6)}
    again = {number: Epoch(train_loss=2.0) for number in range(4, 8)}  # resumed from epoch 4
    curves = training_curves.joined(first, again)
    assert [epoch.train_loss for epoch in curves.values()] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert curves[4].seconds == 5, "what the later piece does not say stays"
    assert list(training_curves.joined(again, first)) == list(range(8))


def test_a_checkpoints_lists() -> None:
    logging = training_curves.as_logging(training_curves.joined({0: Epoch(train_loss=1, seconds=2), 1: Epoch(train_loss=0.5)}))
    assert logging["train_losses"] == [1, 0.5]
    assert logging["epoch_end_timestamps"][0] - logging["epoch_start_timestamps"][0] == 2
    assert math.isnan(logging["val_losses"][0])
    assert len({len(values) for values in logging.values()}) == 1
    json.dumps(logging)
