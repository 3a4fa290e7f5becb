"""What is told of the time that a training still takes."""

from types import SimpleNamespace

import pytest
import torch
from nnunet_trainer.inference import tile_progress
from nnunet_trainer.training.loop import input_checks
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.loop.validation import final_validation
from nnunet_trainer.training.reporting import reporter as reporter_module
from nnunet_trainer.training.reporting.remaining_time import RECENT_EPOCHS, RemainingTime
from nnunet_trainer.training.reporting.reporter import Reporter


@pytest.mark.parametrize(
    ("epochs", "left", "expected"),
    [
        ([], 10, None),
        ([], 0, 0.0),  # only the validation is left
        ([(90.0, 1.0)], 2.5, 225.0),
        ([(9.0, 0.1)], 9, 810.0),  # resumed after nine tenths of an epoch: 9 s, but of a tenth
        ([(9.0, 0.1), (90.0, 1.0)], 8, 720.0),
        ([(1000.0, 1.0), *[(60.0, 1.0)] * RECENT_EPOCHS], 1, 60.0),  # what was slow long ago does not count
        ([(5.0, 0.0), (60.0, 1.0)], 1, 60.0),  # stopped at the very end of an epoch: no iteration was left of it
        ([(60.0, 1.0)], -1, 0.0),
    ],
)
def test_epochs_that_are_left(epochs, left, expected):
    remaining = RemainingTime()
    for seconds, share in epochs:
        remaining.epoch_done(seconds, share)
    assert remaining.of_epochs(left) == (expected if expected is None else pytest.approx(expected))


def test_cases_that_are_left():
    now = [100.0]
    remaining = RemainingTime(lambda: now[0])
    assert remaining.of_cases(2, 6) is None  # two were there already: they say nothing about the pace
    now[0] += 8
    assert remaining.of_cases(3, 6) == pytest.approx(24)
    now[0] += 4
    assert remaining.of_cases(4, 6) == pytest.approx(12)
    now[0] += 2
    assert remaining.of_cases(4.5, 6) == pytest.approx(14 / 2.5 * 1.5)  # in the middle of a large image
    assert remaining.of_cases(6, 6) == 0
    assert remaining.of_cases(0, 6) is None  # another validation begins


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("ended", [3, 6])
def test_each_validation_has_a_pace_of_its_own(first, ended):
    """Hours of epochs may lie between two."""
    now = [0.0]
    remaining = RemainingTime(lambda: now[0])
    for done in range(first, ended + 1):
        remaining.of_cases(done, 6)
        now[0] += 100
    now[0] += 36_000
    assert remaining.of_cases(first, 6) is None
    now[0] += 1
    assert remaining.of_cases(first + 0.5, 6) == pytest.approx(2 * (5.5 - first))
    now[0] += 1
    assert remaining.of_cases(first + 1, 6) == pytest.approx(2 * (5 - first))


@pytest.mark.parametrize(("epoch", "before"), [(2, 0.0), (1, 30.0)])
def test_a_validation_is_told_of_by_its_cases(epoch, before, tmp_path, monkeypatch):
    """At the end of the training, and of whole images in the middle of it: then the epochs that are left come on top."""
    now = [0.0]
    monkeypatch.setattr(reporter_module, "RemainingTime", lambda: RemainingTime(lambda: now[0]))
    heard = []
    session = SimpleNamespace(
        setup=SimpleNamespace(fold_folder=tmp_path, listener=heard.append, on_step=None),
        ranks=SimpleNamespace(first=True, device=torch.device("cpu")),
        history=SimpleNamespace(last=lambda name: None),
        recipe=SimpleNamespace(epochs=2, iterations_per_epoch=3),
        optimizer=SimpleNamespace(param_groups=[{"lr": 0.1}]),
        epoch=epoch, iteration=0, resumed_from=None, continued=None, warnings=[],
    )  # fmt: skip
    reporter = Reporter(session)
    reporter._remaining.epoch_done(30.0, 1.0)
    for done in range(4):
        reporter.progress("validating", done, 3, force=True)
        now[0] += 5
    left = [p.eta_seconds for p in heard]
    assert left == [None, before + 10, before + 5, before]


def test_within_a_large_image_it_is_told_where_the_validation_stands(setup, monkeypatch):
    """In the log, and in how long it still takes."""
    for module in (tile_progress, reporter_module):
        monkeypatch.setattr(module, "EVERY_SECONDS", 0.0)

    def validate(network, *, progress, on_tiles, **others):
        progress(0, 2)
        for tiles in range(4):
            on_tiles("ball_01", tiles, 4)
        progress(1, 2)
        return {"foreground_mean": {"Dice": 0.5}}

    monkeypatch.setattr(final_validation, "predict_and_compare", validate)
    monkeypatch.setattr(input_checks, "require_ground_truth", lambda *_: None)
    lines, heard = [], []
    train(setup({"epochs": 1}, validation=True, log=lines.append, listener=heard.append))
    said = [line.partition(", about")[0] for line in lines if "tiles" in line]
    assert said == [f"Validation: ball_01: {tiles} of 4 tiles" for tiles in (1, 2, 3)]
    validating = [p for p in heard if p.phase == "validating"]
    assert [(p.done, p.total) for p in validating] == [(0, 2)] * 5 + [(1, 2)]
    assert [p.eta_seconds is None for p in validating] == [True, True, False, False, False, False]


def test_an_epoch_that_was_gone_on_with_counts_for_its_share(setup, monkeypatch):
    shares = []
    monkeypatch.setattr(RemainingTime, "epoch_done", lambda self, seconds, share: shares.append(share))
    stop = SimpleNamespace(is_set=lambda: stop.asked, asked=False)

    def step(iteration, total):
        stop.asked = iteration == 2 and not shares

    asked = {"epochs": 2, "iterationsPerEpoch": 4}
    first = setup(asked, stop=stop, on_step=step)
    with pytest.raises(Exception, match="stopped"):
        train(first)
    stop.asked = False
    train(setup(asked, resume=True))
    assert shares == [0.5, 1.0]
