"""Losses of nnU-Net v1 that its successor lost, and what is built from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from nnunet_trainer.extensions import Range

from ...ranks.distributed import share_of_common, sum_over_ranks
from ..registries import LOSSES
from .v2 import Loss, LossContext, Voxels, Weight, cross_entropy, each_voxel, sum_of


def probabilities(voxels: Voxels, context: LossContext) -> Tensor:
    """Of each class, 0 where a voxel does not count."""
    p = torch.sigmoid(voxels.logits) if context.regions else torch.softmax(voxels.logits, 1)
    return p if voxels.mask is None else p * voxels.mask


def known_truth(voxels: Voxels) -> Tensor:
    """Masks of each class as numbers, 0 where a voxel does not count."""
    truth = voxels.truth if voxels.mask is None else voxels.truth * voxels.mask
    return truth.float()


def _over_batch(sums: Tensor, context: LossContext) -> Tensor:
    """Sums (n, b, c) as they are, or over the whole batch (n, 1, c)."""
    return sum_over_ranks(sums.sum(1, keepdim=True)) if context.batch_dice else sums


def _own_share(value: Tensor, context: LossContext) -> Tensor:
    return share_of_common(value) if context.batch_dice else value * context.share


def squared_dice(voxels: Voxels, context: LossContext, *, smooth: float) -> Tensor:
    """-mean(2(Σpy + s) / (Σp² + Σy² + s)), without the background unless there are regions."""
    p, y = probabilities(voxels, context), known_truth(voxels)
    first, axes = 0 if context.regions else 1, tuple(range(2, p.ndim))
    sums = torch.stack(((p * y).sum(axes), p.square().sum(axes) + y.square().sum(axes)))[:, :, first:]
    overlap, squares = _over_batch(sums, context)
    return _own_share(-(2 * (overlap + smooth) / (squares + smooth).clamp_min(1e-8)).mean(), context)


def generalised_dice(voxels: Voxels, context: LossContext, *, smooth: float) -> Tensor:
    """One Dice over all classes, each weighted by 1 / its volume, without the background unless there are regions.

    Sudre et al., "Generalised Dice overlap as a deep learning loss function", 2017, with 1/V as in nnU-Net v1.
    """
    p, y = probabilities(voxels, context), known_truth(voxels)
    first, axes = 0 if context.regions else 1, tuple(range(2, p.ndim))
    sums = torch.stack(((p * y).sum(axes), p.sum(axes), y.sum(axes)))[:, :, first:]
    tp, predicted, volume = _over_batch(sums, context)
    weights = 1 / (volume + 1e-6)
    overlap, both = (tp * weights).sum(-1), ((predicted + volume) * weights).sum(-1)
    return _own_share(-((2 * overlap + smooth) / (both + smooth).clamp_min(1e-8)).mean(), context)


def matthews(voxels: Voxels, context: LossContext, *, background: bool, eps: float) -> Tensor:
    """-mean of Matthews' correlation coefficient of each class, of soft counts divided by the number of voxels."""
    p, y = probabilities(voxels, context), known_truth(voxels)
    count = torch.ones_like(p) if voxels.mask is None else voxels.mask.expand_as(p).float()
    first, axes = 0 if background or context.regions else 1, tuple(range(2, p.ndim))
    sums = torch.stack(((p * y).sum(axes), p.sum(axes), y.sum(axes), count.sum(axes)))[:, :, first:]
    both, predicted, volume, voxel_count = _over_batch(sums, context)
    tp, fp, fn = (x / voxel_count.clamp_min(1) for x in (both, predicted - both, volume - both))
    tn = 1 - tp - fp - fn
    product = ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)).clamp_min(0)
    # The root's slope is infinite at 0, where a class is absent: v1's loss became NaN there.
    return _own_share(-((tp * tn - fp * fn) / (product + eps).sqrt()).mean(), context)


def focal(voxels: Voxels, context: LossContext, *, gamma: float, alpha: float) -> Tensor:
    """Mean of -α(1-pt)^γ·log pt, pt the probability of what is true (Lin et al., 2017)."""
    each = each_voxel(voxels, context)
    each = each if context.regions else each[:, None]
    weighted = alpha * (1 - torch.exp(-each)).clamp_min(1e-8) ** gamma * each
    if voxels.mask is None:
        return weighted.mean() * context.share
    counted = sum_over_ranks(voxels.mask.sum().float()).clamp_min(1) * weighted.shape[1]
    return (weighted * voxels.mask).sum() / counted


Term = Callable[[Voxels], Tensor]


@LOSSES.register("SquaredDice")
def squared_dice_loss(context: LossContext, *, smooth: Weight = 1e-5) -> Loss:
    """Soft Dice with squares in the denominator."""
    return sum_of(context, (1.0, lambda v: squared_dice(v, context, smooth=smooth)))


@LOSSES.register("GeneralisedDice")
def generalised_dice_loss(context: LossContext, *, smooth: Weight = 1e-5) -> Loss:
    """Generalised Dice: small classes count as much as large ones."""
    return sum_of(context, (1.0, lambda v: generalised_dice(v, context, smooth=smooth)))


@LOSSES.register("GeneralisedDiceCE")
def generalised_dice_ce(context: LossContext, *, weight_dice: Weight = 1.0, weight_ce: Weight = 1.0, smooth: Weight = 1e-5) -> Loss:
    """Generalised Dice and cross-entropy."""
    gdl: Term = lambda v: generalised_dice(v, context, smooth=smooth)  # noqa: E731
    return sum_of(context, (weight_ce, lambda v: cross_entropy(v, context)), (weight_dice, gdl))


@LOSSES.register("MCC")
def mcc(context: LossContext, *, background: bool = True, eps: Weight = 1e-8) -> Loss:
    """Matthews' correlation coefficient.

    Args:
        context: of the training.
        background: count the first class too.
        eps: added below the root. With 0, as in v1, the loss is NaN where a class neither is nor is predicted.
    """
    return sum_of(context, (1.0, lambda v: matthews(v, context, background=background, eps=eps)))


@LOSSES.register("Focal")
def focal_loss(context: LossContext, *, gamma: Weight = 2.0, alpha: Annotated[float, Range(0, 1)] = 0.5) -> Loss:
    """Focal loss: what is right already counts little."""
    return sum_of(context, (1.0, lambda v: focal(v, context, gamma=gamma, alpha=alpha)))
