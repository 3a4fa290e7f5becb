"""Losses, optimizers and schedules beyond the wheel's: against their formulas, and what they must do."""

import inspect
import math

import numpy as np
import pytest
import torch
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.training.components import lookup, schedules
from nnunet_trainer.training.components.losses import compound as compound_losses
from nnunet_trainer.training.components.losses import cross_entropy, matthews
from nnunet_trainer.training.components.losses import dice as dice_losses
from nnunet_trainer.training.components.losses.context import LossContext

SHAPE = (2, 3, 5, 6, 4)
LOSSES = sorted(lookup.registry("loss"))
OPTIMIZERS = sorted(lookup.registry("optimizer"))
SCHEDULES = sorted(lookup.registry("schedule"))


def problem(regions=False, ignore=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(SHAPE, generator=generator)
    if regions:
        return logits, torch.rand((SHAPE[0], SHAPE[1] + ignore, *SHAPE[2:]), generator=generator) < 0.4
    target = torch.randint(0, 3 + ignore, (SHAPE[0], 1, *SHAPE[2:]), generator=generator)
    return logits, target


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_falls_and_ignores(name, regions, ignore):
    context = LossContext(regions=regions, ignore_label=3 if ignore else None, batch_dice=True)
    loss = lookup.find("loss", name).make(context)
    logits, target = problem(regions, ignore)
    x = logits.clone().requires_grad_()
    first = loss(x, target)
    first.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert loss(logits - 100 * x.grad / x.grad.norm(), target) < first
    if ignore:
        ignored = target[:, -1:].bool() if regions else target == 3
        assert not x.grad[ignored.expand_as(x.grad)].any()


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"TopK", "DiceTopK"}))
def test_shares_of_two_halves_make_the_whole(name):
    logits, target = problem()
    whole = lookup.find("loss", name).make(LossContext())(logits, target)
    half = lookup.find("loss", name).make(LossContext(share=0.5))
    assert (half(logits[:1], target[:1]) + half(logits[1:], target[1:])).item() == pytest.approx(whole.item(), rel=1e-5)


def counts(logits, target):
    p = torch.softmax(logits, 1).double().numpy()
    y = np.stack([(target[:, 0] == c).numpy() for c in range(3)], 1)
    axes = (0, 2, 3, 4)
    n = p.size / p.shape[1]
    return (p * y).sum(axes), (p * ~y).sum(axes), ((1 - p) * y).sum(axes), ((1 - p) * ~y).sum(axes), p, y, n


def test_formulas():
    logits, target = problem()
    context = LossContext(batch_dice=True)
    tp, fp, fn, tn, p, y, n = counts(logits, target)
    s = 1e-5

    def value(loss):
        return loss(logits, target).item()

    squares = (p**2).sum((0, 2, 3, 4)) + y.sum((0, 2, 3, 4))
    assert value(dice_losses.squared_dice_loss(context)) == pytest.approx(-(2 * (tp + s) / (squares + s))[1:].mean(), rel=1e-5)
    tp, fp, fn, tn = (x / n for x in (tp, fp, fn, tn))
    mcc = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn) + 1e-8)
    assert value(matthews.mcc(context)) == pytest.approx(-mcc.mean(), rel=1e-4)
    assert value(matthews.mcc(context, background=False)) == pytest.approx(-mcc[1:].mean(), rel=1e-4)
    w = 1 / (y.sum((0, 2, 3, 4)) + 1e-6)
    tp, fp, fn = tp * n, fp * n, fn * n
    gdl = (2 * (tp * w)[1:].sum() + s) / (((2 * tp + fp + fn) * w)[1:].sum() + s)
    assert value(dice_losses.generalised_dice_loss(context)) == pytest.approx(-gdl, rel=1e-5)
    pt = (p * y).sum(1)
    assert value(cross_entropy.focal_loss(context)) == pytest.approx((-0.5 * (1 - pt) ** 2 * np.log(pt)).mean(), rel=1e-5)


def test_a_loss_without_terms_is_refused():
    with pytest.raises(BadConfiguration, match="all weights are 0"):
        compound_losses.dice_ce(LossContext(), weight_dice=0.0, weight_ce=0.0)


def test_absent_classes_leave_finite_gradients():
    logits, target = torch.zeros(SHAPE, requires_grad=True), torch.zeros((SHAPE[0], 1, *SHAPE[2:]), dtype=torch.int16)
    for name in LOSSES:
        lookup.find("loss", name).make(LossContext())(logits, target).backward()
        assert logits.grad.isfinite().all(), name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_finds_a_minimum_and_is_resumed(name):
    def run(steps, state=None):
        x = torch.nn.Parameter(torch.tensor([3.0, -2.0]) if state is None else state[0])
        make = lookup.find("optimizer", name).make
        fast = {"momentum": 0.5} if name == "SGD" else {}
        optimizer = make([{"params": [x]}], learning_rate=0.05, weight_decay=0.0, **fast)
        if state is not None:
            optimizer.load_state_dict(state[1])
        for _ in range(steps):
            optimizer.zero_grad()
            ((x - 1) ** 2).sum().backward()
            optimizer.step()
        return x.detach().clone(), optimizer.state_dict()

    whole = run(1200)[0]
    assert (whole - 1).abs().max() < 0.1
    torch.testing.assert_close(run(1183, run(17))[0], whole)


def test_adan_by_hand():
    x = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = lookup.find("optimizer", "Adan").make([x], learning_rate=0.1, weight_decay=0.01)
    m = v = n = 0.0
    value, previous, b = 2.0, None, (0.02, 0.08, 0.01)
    for step in range(1, 6):
        gradient = math.cos(step) * 3
        previous = gradient if previous is None else previous
        change = gradient - previous
        m, v = m + b[0] * (gradient - m), v + b[1] * (change - v)
        n = n + b[2] * ((gradient + (1 - b[1]) * change) ** 2 - n)
        corrected = [a / (1 - (1 - r) ** step) for a, r in zip((m, v, n), b, strict=True)]
        value -= 0.1 * (corrected[0] + (1 - b[1]) * corrected[1]) / (math.sqrt(corrected[2]) + 1e-8)
        value /= 1 + 0.1 * 0.01
        previous = gradient
        x.grad = torch.tensor([gradient])
        optimizer.step()
        assert x.item() == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_schedule_stays_between_nothing_and_the_whole_rate(name):
    component = lookup.find("schedule", name)
    needed = {n: [0.5] for n, p in component.parameters.items() if p.default is inspect.Parameter.empty}
    schedule = component.make(200, **needed)
    history = {"train_losses": [1.0] * 200}
    rates = [schedule(epoch, history) for epoch in range(200)]
    assert max(rates) == 1
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates == [schedule(epoch, history) for epoch in range(200)]


def test_the_rate_falls_on_a_plateau_and_only_there():
    schedule = schedules.plateau(100, patience=5, smoothing=0.0)
    falling = [1 - 0.01 * epoch for epoch in range(40)]
    flat = [falling[-1]] * 30
    history = {"train_losses": falling + flat}
    assert schedule(40, history) == 1
    assert schedule(45, history) == 1
    assert schedule(46, history) == pytest.approx(0.2)
    assert schedule(52, history) == pytest.approx(0.04)


def test_a_triangle_at_the_end():
    schedule = schedules.poly_with_cycle(1100, length=100)
    assert schedule(999, {}) == pytest.approx(0.001**0.9)
    assert schedule(1000, {}) == pytest.approx(1e-4)
    assert schedule(1050, {}) == pytest.approx(0.1)
    assert schedule(1099, {}) < 0.003
