"""Loss values and gradients are the wheel's, for labels and regions, with and without an ignore label."""

import pytest
import torch
from nnunet_trainer.training.components import lookup, schedules
from nnunet_trainer.training.components.losses import compound as compound_losses
from nnunet_trainer.training.components.losses import cross_entropy, deep_supervision
from nnunet_trainer.training.components.losses import dice as dice_losses
from nnunet_trainer.training.components.losses.context import LossContext
from nnunet_trainer.training.recipes import presets
from nnunetv2.training.loss import compound_losses as compound
from nnunetv2.training.loss import robust_ce_loss as robust_ce
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss as DiceLoss

pytestmark = pytest.mark.reference

SHAPES = {"2d": (3, 12, 10), "3d": (2, 6, 8, 7)}


def labels(shape, classes, ignore, seed=0):
    """Random labels (b, 1, …); with `ignore`, one sample in part and one wholly ignored."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes, (shape[0], 1, *shape[1:]), generator=generator)
    if ignore is not None:
        target[torch.rand(target.shape, generator=generator) < 0.3] = ignore
        target[-1] = ignore
    return target.to(torch.int16)


def regions(shape, count, ignore, seed=0):
    """Random masks (b, regions [+ ignore], …)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((shape[0], count + ignore, *shape[1:]), generator=generator) < 0.4


def logits(shape, channels):
    return torch.randn((shape[0], channels, *shape[1:]), generator=torch.Generator().manual_seed(3)) * 3


def compare(ours, theirs, x, target, their_target=None):
    mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = ours(mine, target)
    expected = theirs(other, target if their_target is None else their_target)
    found.backward(), expected.backward()
    torch.testing.assert_close(found, expected.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("ignore", [None, 3])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_dice_and_cross_entropy(shape, batch_dice, ignore):
    shape = SHAPES[shape]
    theirs = compound.DC_and_CE_loss(
        {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False}, {}, ignore_label=ignore, dice_class=DiceLoss
    )
    ours = compound_losses.dice_ce(LossContext(batch_dice=batch_dice, ignore_label=ignore))
    compare(ours, theirs, logits(shape, 3), labels(shape, 3, ignore))


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_dice_and_binary_cross_entropy_of_regions(shape, batch_dice, ignore):
    shape = SHAPES[shape]
    theirs = compound.DC_and_BCE_loss(
        {}, {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": True, "ddp": False}, use_ignore_label=ignore, dice_class=DiceLoss
    )
    ours = compound_losses.dice_ce(LossContext(regions=True, batch_dice=batch_dice, ignore_label=4 if ignore else None))
    compare(ours, theirs, logits(shape, 3), regions(shape, 3, ignore))


@pytest.mark.parametrize("name", ["nnUNetTrainerV2BraTSRegions", "nnUNetTrainerV2BraTSRegions_Dice"])
def test_losses_of_brats(name):
    """Sigmoid Dice of each sample, without smoothing, and binary cross-entropy."""
    recipe = presets.recipe(name)
    ours = lookup.find("loss", recipe.loss.name).make(LossContext(regions=True, batch_dice=False), **recipe.loss.parameters)
    assert recipe.batch_dice is False
    theirs = compound.DC_and_BCE_loss(
        {},
        {"batch_dice": False, "smooth": 0, "do_bg": True, "ddp": False},
        weight_ce=0 if name.endswith("Dice") else 1,
        dice_class=DiceLoss,
    )
    target = regions(SHAPES["3d"], 3, False)
    compare(ours, theirs, logits(SHAPES["3d"], 3), target, target.float())


def test_only_ignored_voxels():
    shape = SHAPES["3d"]
    target = torch.full((2, 1, 6, 8, 7), 3, dtype=torch.int16)
    theirs = compound.DC_and_CE_loss(
        {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}, {}, ignore_label=3, dice_class=DiceLoss
    )
    compare(compound_losses.dice_ce(LossContext(batch_dice=True, ignore_label=3)), theirs, logits(shape, 3), target)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_top_k(smoothing):
    shape = SHAPES["3d"]
    theirs = robust_ce.TopKLoss(k=10, label_smoothing=smoothing)
    ours = cross_entropy.top_k_ce(LossContext(), percent=10.0, label_smoothing=smoothing)
    compare(ours, theirs, logits(shape, 3), labels(shape, 3, None))


def test_dice_and_top_k():
    shape = SHAPES["3d"]
    theirs = compound.DC_and_topk_loss({"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}, {"k": 10})
    compare(compound_losses.dice_top_k(LossContext(), percent=10.0), theirs, logits(shape, 3), labels(shape, 3, None))


def test_cross_entropy_alone_and_dice_alone():
    shape, target = SHAPES["3d"], labels(SHAPES["3d"], 3, None)
    compare(cross_entropy.ce(LossContext()), robust_ce.RobustCrossEntropyLoss(), logits(shape, 3), target)
    theirs = DiceLoss(lambda x: torch.softmax(x, 1), batch_dice=True, do_bg=True, smooth=1e-5, ddp=False)
    compare(dice_losses.dice(LossContext(batch_dice=True), background=True), theirs, logits(shape, 3), target)


def test_regions_with_ignore_can_be_averaged_over_regions():
    target, x = regions(SHAPES["3d"], 3, True), logits(SHAPES["3d"], 3)
    context = LossContext(regions=True, ignore_label=4)
    as_nnunet = compound_losses.dice_ce(context, weight_dice=0.0)(x, target)
    averaged = compound_losses.dice_ce(context, weight_dice=0.0, per_region=True)(x, target)
    assert as_nnunet.item() == pytest.approx(3 * averaged.item(), rel=1e-6)


@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_deep_supervision_weights(count):
    import numpy as np

    expected = np.array([1 / 2**i for i in range(count)])
    expected[-1] = 0
    assert deep_supervision.weights(count) == pytest.approx(list(expected / expected.sum()))


def test_deep_supervision_scales_and_loss():
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

    scales = deep_supervision.scales([[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]], 3)
    assert scales == [[1, 1, 1], [1, 0.5, 0.5], [0.5, 0.25, 0.25]]
    factors = deep_supervision.weights(3)
    shapes = [(2, 8, 8, 8), (2, 8, 4, 4), (2, 4, 2, 2)]
    outputs, targets = [logits(s, 3) for s in shapes], [labels(s, 3, None) for s in shapes]
    inner = compound.DC_and_CE_loss({"smooth": 1e-5, "do_bg": False, "ddp": False}, {}, dice_class=DiceLoss)
    expected = DeepSupervisionWrapper(inner, factors)(outputs, targets)
    found = deep_supervision.supervised(compound_losses.dice_ce(LossContext()), factors)(outputs, targets)
    torch.testing.assert_close(found, expected)


def test_poly_schedule():
    from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1e-2)
    theirs, ours = PolyLRScheduler(optimizer, 1e-2, 20), schedules.poly(20)
    for epoch in range(20):
        theirs.step(epoch)
        assert 1e-2 * ours(epoch, {}) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_warm_up_is_the_wheels():
    from nnunetv2.training.lr_scheduler.warmup import Lin_incr_LRScheduler, PolyLRScheduler_offset

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1e-2)
    rising, falling = Lin_incr_LRScheduler(optimizer, 1e-2, 5), PolyLRScheduler_offset(optimizer, 1e-2, 20, 5)
    ours = schedules.with_warm_up(schedules.poly, 20, 5)
    for epoch in range(20):
        (rising if epoch < 5 else falling).step(epoch)
        assert 1e-2 * ours(epoch, {}) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
