"""A loss that is no number: which iteration, which cases; a gradient scaler's skipped steps do not end a training."""

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.training.data.batch import Batch
from nnunet_trainer.training.loop import fold_training, loss_accumulator
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.loop.loss_accumulator import PATIENCE, LossAccumulator
from nnunet_trainer.training.session.preparation import prepare

NAN, INF = math.nan, math.inf


def session(iteration, *, scaler=False, bad=()):
    """A session whose patches of the iterations `bad` hold a NaN; its cases are named after the iteration."""

    def batch(epoch, at):
        data = np.zeros((2, 1, 4, 4), np.float32)
        if at in bad:
            data[1, 0, 2, 2] = NAN
        return Batch(data, data.astype(np.int16), [0, 1], [], [f"good_{at}", f"case_{at}"])

    return SimpleNamespace(
        epoch=3,
        iteration=iteration,
        losses=[],
        loss_shares=[],
        ranks=SimpleNamespace(rank=0, world_size=1),
        setup=SimpleNamespace(fold="0"),
        sampler=SimpleNamespace(batch=batch),
        precision=SimpleNamespace(scaler=object() if scaler else None, name="fp16" if scaler else "fp32"),
        optimizer=SimpleNamespace(param_groups=[{"lr": 0.01}]),
        recipe=SimpleNamespace(loss=SimpleNamespace(name="CE")),
    )


def look(session, values):
    losses = LossAccumulator(session)
    for value in values:
        losses.add(torch.tensor(value))
    losses.gather()
    return losses


def test_the_mean_is_of_all_iterations():
    s = session(4)
    losses = look(s, [0.5, -0.25, 1.0])
    losses.gather()
    assert s.losses == [0.5, -0.25, 1.0]
    assert losses.mean() == 1.25 / 3
    assert losses.skipped == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_does_not_depend_on_when_it_was_looked_at_and_saved(seed):
    """Of losses over many orders of magnitude, whose sum in another order is another one."""
    chance = random.Random(seed)
    values = [chance.gauss(0, 1) * 10 ** chance.uniform(-12, 6) for _ in range(200)]
    means = set()
    for often in (0.0, 0.1, 1.0):
        s = session(0)
        losses = LossAccumulator(s)
        for value in values:
            losses.add(torch.tensor(value))
            s.iteration += 1
            if chance.random() < often:
                losses.look()
            if chance.random() < often / 2:
                losses.gather()
                s.losses = list(s.losses)  # as a checkpoint keeps them
                losses = LossAccumulator(s)
        losses.gather()
        means.add(losses.mean())
    assert len(means) == 1


@pytest.mark.parametrize("place", [0, 11, 24])
def test_the_iteration_is_found_among_those_looked_at_together(place):
    values = [0.5] * place + [NAN] + [NAN] * (24 - place)
    with pytest.raises(
        BadConfiguration, match=rf"epoch 3, iteration {50 + place}, fold 0: the training diverged.*case_{50 + place}"
    ):
        look(session(75), values)
    with pytest.raises(BadData, match=rf"iteration {50 + place}, .* images of case_{50 + place} hold"):
        look(session(75, bad=[50 + place]), values)


@pytest.mark.parametrize(
    ("epoch", "precision", "said", "unsaid"),
    [
        (0, "fp32", "nothing was trained yet", "learningRate"),
        (0, "fp16", "Set recipe.precision to fp32 or bf16.", "learningRate"),
        (3, "fp32", "Lower recipe.optimizer.learningRate", "precision"),
        (3, "bf16", "or set recipe.precision to fp32.", "bf16"),
    ],
)
def test_what_may_help(epoch, precision, said, unsaid):
    s = session(1)
    s.epoch, s.precision.name = epoch, precision
    with pytest.raises(BadConfiguration) as refused:
        look(s, [NAN])
    assert said in refused.value.hint
    assert unsaid not in refused.value.hint
    assert ("diverged" in refused.value.message) == (epoch > 0)


def test_a_scaler_skips_and_the_step_counts_as_the_others_mean():
    s = session(5, scaler=True)
    losses = look(s, [1.0, INF, 3.0, NAN, 2.0])
    assert losses.mean() == 2.0
    assert losses.skipped == 2
    s = session(1, scaler=True)
    assert look(s, [NAN]).mean() == 0.0


def test_bad_images_are_named_whatever_skips_the_step():
    with pytest.raises(BadData, match="case_1"):
        look(session(3, scaler=True, bad=[1]), [1.0, INF, 1.0])


def test_too_many_skips_in_a_row_end_it():
    s = session(0, scaler=True)
    losses = LossAccumulator(s)

    def step(value):
        losses.add(torch.tensor(value))
        s.iteration += 1
        losses.look()

    for _ in range(3):
        for _ in range(PATIENCE - 1):
            step(INF)
        step(1.0)
    for _ in range(PATIENCE - 1):
        step(INF)
    with pytest.raises(BadConfiguration, match=rf"for the {PATIENCE}th time in a row.*fp16") as ended:
        step(INF)
    assert ended.value.exit_code == 78


def scaled(monkeypatch, spoilt, scale=16.0):
    """Trainings with a scaler (torch has one for CPUs too), the loss of iterations `spoilt` being infinite."""
    sessions = []

    def prepared(setup, ranks):
        s = prepare(setup, ranks)
        s.precision.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
        inner = s.criterion

        def criterion(outputs, targets):
            loss = inner(outputs, targets)
            return loss * INF if s.network.training and s.iteration in spoilt else loss

        s.criterion = criterion
        sessions.append(s)
        return s

    monkeypatch.setattr(fold_training, "prepare", prepared)
    return sessions


def test_one_overflow_does_not_end_a_training(setup, monkeypatch):
    sessions = scaled(monkeypatch, {1})
    lines = []
    result = train(setup({"epochs": 1}, log=lines.append))
    assert math.isfinite(result.train_loss)
    assert all(p.isfinite().all() for p in sessions[0].network.parameters())
    assert sessions[0].precision.scaler.get_scale() == 8.0
    assert any("no number in 1 step of epoch 0" in line for line in lines)


def test_a_training_that_only_overflows_ends(setup, monkeypatch):
    monkeypatch.setattr(loss_accumulator, "PATIENCE", 4)
    scaled(monkeypatch, set(range(10)))
    with pytest.raises(BadConfiguration, match="for the 4th time in a row"):
        train(setup({"iterationsPerEpoch": 10}))
