"""Soft deep supervision: what its targets are, and that every loss takes them."""

import math

import pytest
import torch
from nnunet_trainer.training.components import lookup
from nnunet_trainer.training.components.losses import cross_entropy
from nnunet_trainer.training.components.losses import dice as dice_losses
from nnunet_trainer.training.components.losses.context import LossContext
from nnunet_trainer.training.components.losses.deep_supervision import soft_targets
from nnunet_trainer.training.loop.fold_training import train

from ..conftest import dataset_json

PATCH = (4, 6, 4)
SCALES = [[1, 1, 1], [1, 0.5, 0.5], [0.5, 0.5, 0.25]]
CELLS = [(1, 2, 2), (2, 2, 4)]
LOSSES = sorted(lookup.registry("loss"))


def labels(ignore):
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3 + ignore, (2, 1, *PATCH), generator=generator)
    target[0, 0, :2, :2, :] = 3 if ignore else 1
    return target.to(torch.int16)


def masks(ignore):
    return torch.rand((2, 2 + ignore, *PATCH), generator=torch.Generator().manual_seed(0)) < 0.4


def cells(volume, size):
    """(b, *cells, voxels of a cell)."""
    for axis, n in enumerate(size):
        volume = volume.unfold(1 + axis, n, n)
    return volume.flatten(-3)


@pytest.mark.parametrize("ignore", [False, True])
def test_shares_of_labels(ignore):
    target = labels(ignore)
    found = soft_targets(target, SCALES, 3, regions=False, ignore_label=3 if ignore else None)
    assert found[0] is target
    for soft, size in zip(found[1:], CELLS, strict=True):
        inside = cells(target[:, 0], size)
        known = (inside != 3).sum(-1)
        for label in range(3):
            expected = (inside == label).sum(-1) / known.clamp_min(1)
            torch.testing.assert_close(soft[:, label], expected)
        if ignore:
            torch.testing.assert_close(soft[:, -1], (inside == 3).float().mean(-1))
            assert (known == 0).any()
        assert soft.shape[1] == 3 + ignore


@pytest.mark.parametrize("ignore", [False, True])
def test_shares_of_regions(ignore):
    target = masks(ignore)
    if ignore:
        target[:, :-1] &= ~target[:, -1:]
    found = soft_targets(target, SCALES, 2, regions=True, ignore_label=3 if ignore else None)
    counted = ~target[:, -1] if ignore else torch.ones_like(target[:, 0])
    for soft, size in zip(found[1:], CELLS, strict=True):
        known = cells(counted, size).sum(-1).clamp_min(1)
        for region in range(2):
            torch.testing.assert_close(soft[:, region], cells(target[:, region], size).sum(-1) / known)


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_of_certain_shares_is_the_hard_one(name, regions, ignore):
    """Shares of 0 and 1 say what labels say; voxels that are wholly ignored do not count."""
    target = masks(ignore) if regions else labels(ignore)
    soft = target.float() if regions else torch.cat([(target == label).float() for label in range(3 + ignore)], 1)
    context = LossContext(regions=regions, ignore_label=3 if ignore else None, batch_dice=True)
    loss = lookup.find("loss", name).make(context)
    x = torch.randn(2, 2 if regions else 3, *PATCH, generator=torch.Generator().manual_seed(1))
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    hard, found = loss(inputs[0], target), loss(inputs[1], soft)
    hard.backward(), found.backward()
    torch.testing.assert_close(found, hard)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-4, atol=1e-7)


def test_dice_and_cross_entropy_of_shares_by_their_formulas():
    soft = torch.softmax(torch.randn(2, 3, *PATCH, generator=torch.Generator().manual_seed(2)), 1)
    x = torch.randn(2, 3, *PATCH, generator=torch.Generator().manual_seed(3))
    p = torch.softmax(x, 1)
    ce = cross_entropy.ce(LossContext())(x, soft)
    torch.testing.assert_close(ce, -(soft * p.log()).sum(1).mean())
    overlap, volumes = (p * soft).sum((0, 2, 3, 4)), (p + soft).sum((0, 2, 3, 4))
    dice = dice_losses.dice(LossContext(batch_dice=True))(x, soft)
    torch.testing.assert_close(dice, -((2 * overlap + 1e-5) / (volumes + 1e-5))[1:].mean())


@pytest.mark.parametrize(
    ("configuration", "names", "more"),
    [
        ("3d_fullres", None, {}),
        ("2d", {"background": 0, "shell": 1, "ignore": 2}, {}),
        ("3d_fullres", {"background": 0, "ball": [1, 2], "core": 2}, {"regions_class_order": [1, 2]}),
        ("2d", {"background": 0, "ball": [1], "both": [0, 1], "ignore": 2}, {"regions_class_order": [1, 1]}),
    ],
)
def test_it_trains(setup, configuration, names, more):
    changes = {"epochs": 1, "deepSupervision": "soft", "coarsestOutput": True}
    result = train(setup(changes, configuration=configuration, dataset_json=dataset_json(names, **more)))
    assert math.isfinite(result.train_loss)
    assert math.isfinite(result.val_loss)
