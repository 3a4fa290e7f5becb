"""Soft Dice, with squares in the denominator, and over all classes together."""

from __future__ import annotations

import torch
from torch import Tensor

from ...ranks.distributed import share_of_common, sum_over_ranks
from ..registries import LOSSES
from .context import Loss, LossContext, Voxels, Weight, known_truth, over_batch, own_share, probabilities, sum_of


def soft_dice(voxels: Voxels, context: LossContext, *, smooth: float, background: bool) -> Tensor:
    """-mean((2·Σpy + s) / max(Σp + Σy + s, 1e-8)) over classes, and over samples unless `batch_dice`.

    Args:
        voxels: softmax or sigmoid probabilities p are taken of its logits.
        context: of the training.
        smooth: s.
        background: count the first class too (regions have no background).
    """
    probabilities = torch.sigmoid(voxels.logits) if context.regions else torch.softmax(voxels.logits, 1)
    truth = voxels.truth
    if not background:
        probabilities, truth = probabilities[:, 1:], truth[:, 1:]
    axes = tuple(range(2, probabilities.ndim))
    if voxels.mask is not None:
        probabilities, truth = probabilities * voxels.mask, truth * voxels.mask
    overlap = (probabilities * truth).sum(axes, dtype=torch.float32)
    volumes = probabilities.sum(axes, dtype=torch.float32) + truth.sum(axes, dtype=torch.float32)
    if context.batch_dice:
        # Over the batch first, then over the ranks: then ranks may have unequal numbers of samples.
        overlap, volumes = sum_over_ranks(torch.stack((overlap.sum(0), volumes.sum(0))))
    dice = ((2 * overlap + smooth) / (volumes + smooth).clamp_min(1e-8)).mean()
    return -share_of_common(dice) if context.batch_dice else -dice * context.share


def squared_dice(voxels: Voxels, context: LossContext, *, smooth: float) -> Tensor:
    """-mean(2(Σpy + s) / (Σp² + Σy² + s)), without the background unless there are regions."""
    p, y = probabilities(voxels, context), known_truth(voxels)
    first, axes = 0 if context.regions else 1, tuple(range(2, p.ndim))
    sums = torch.stack(((p * y).sum(axes), p.square().sum(axes) + y.square().sum(axes)))[:, :, first:]
    overlap, squares = over_batch(sums, context)
    return own_share(-(2 * (overlap + smooth) / (squares + smooth).clamp_min(1e-8)).mean(), context)


def generalised_dice(voxels: Voxels, context: LossContext, *, smooth: float) -> Tensor:
    """One Dice over all classes, each weighted by 1 / its volume, without the background unless there are regions.

    Sudre et al., "Generalised Dice overlap as a deep learning loss function", 2017, with 1/V as in nnU-Net v1.
    """
    p, y = probabilities(voxels, context), known_truth(voxels)
    first, axes = 0 if context.regions else 1, tuple(range(2, p.ndim))
    sums = torch.stack(((p * y).sum(axes), p.sum(axes), y.sum(axes)))[:, :, first:]
    tp, predicted, volume = over_batch(sums, context)
    weights = 1 / (volume + 1e-6)
    overlap, both = (tp * weights).sum(-1), ((predicted + volume) * weights).sum(-1)
    return own_share(-((2 * overlap + smooth) / (both + smooth).clamp_min(1e-8)).mean(), context)


@LOSSES.register("Dice")
def dice(context: LossContext, *, smooth: Weight = 1e-5, background: bool | None = None) -> Loss:
    """Soft Dice."""
    with_first = context.regions if background is None else background
    return sum_of(context, (1.0, lambda v: soft_dice(v, context, smooth=smooth, background=with_first)))


@LOSSES.register("SquaredDice")
def squared_dice_loss(context: LossContext, *, smooth: Weight = 1e-5) -> Loss:
    """Soft Dice with squares in the denominator."""
    return sum_of(context, (1.0, lambda v: squared_dice(v, context, smooth=smooth)))


@LOSSES.register("GeneralisedDice")
def generalised_dice_loss(context: LossContext, *, smooth: Weight = 1e-5) -> Loss:
    """Generalised Dice: small classes count as much as large ones."""
    return sum_of(context, (1.0, lambda v: generalised_dice(v, context, smooth=smooth)))
