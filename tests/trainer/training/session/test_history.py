"""The log: the wheel's moving average, plain numbers, no NaN that stays."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer.training.loop.validation import pseudo_dice
from nnunet_trainer.training.session.history import KEYS, History


def add(history, dice):
    history.add(train_loss=1.0, val_loss=2.0, dice=dice, learning_rate=0.01, started=1.0, ended=2.0)


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=1, max_size=20))
def test_the_moving_average_is_nnunets(values):
    history, expected = History(), None
    for dice in values:
        add(history, dice)
        mean = np.nanmean(dice)
        expected = mean if expected is None else 0.9 * expected + 0.1 * mean
        assert history.last("ema_fg_dice") == pytest.approx(expected)
        assert history.last("mean_fg_dice") == pytest.approx(mean)
    assert {len(history.lists[key]) for key in KEYS} == {len(values)} == {len(history)}


def test_an_epoch_without_foreground_leaves_the_average():
    history = History()
    add(history, [math.nan, math.nan])
    assert math.isnan(history.last("ema_fg_dice"))
    add(history, [0.5, math.nan])
    add(history, [math.nan, math.nan])
    assert history.last("ema_fg_dice") == 0.5
    assert math.isnan(history.last("mean_fg_dice"))


def test_numpy_scalars_and_unfinished_epochs_of_a_checkpoint_are_cleared():
    content = {key: [np.float32(0.25)] * 3 for key in KEYS} | {"dice_per_class_or_region": [[np.float64(0.5)]] * 2}
    history = History(content, 2)
    assert {len(values) for values in history.lists.values()} == {2}
    assert type(history.last("lrs")) is float
    assert type(history.last("dice_per_class_or_region")[0]) is float


def test_dice():
    assert pseudo_dice.dice(3, 1, 2) == pytest.approx(6 / 9)
    assert math.isnan(pseudo_dice.dice(0, 0, 0))
