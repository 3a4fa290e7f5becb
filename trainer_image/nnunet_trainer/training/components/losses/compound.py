"""Sums of an overlap loss and a cross-entropy, among them nnU-Net's default."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..registries import LOSSES
from .context import Loss, LossContext, Voxels, Weight, sum_of
from .cross_entropy import Percent, Smoothing, binary_cross_entropy, cross_entropy, top_k
from .dice import generalised_dice, soft_dice

Term = Callable[[Voxels], Tensor]


@LOSSES.register("DiceCE")
def dice_ce(
    context: LossContext,
    *,
    weight_dice: Weight = 1.0,
    weight_ce: Weight = 1.0,
    smooth: Weight = 1e-5,
    label_smoothing: Smoothing = 0.0,
    background: bool | None = None,
    per_region: bool = False,
) -> Loss:
    """Soft Dice and cross-entropy, nnU-Net's default; with regions sigmoid Dice and binary cross-entropy.

    Args:
        context: of the training.
        weight_dice: of the Dice.
        weight_ce: of the cross-entropy.
        smooth: the Dice's smoothing term.
        label_smoothing: of the cross-entropy.
        background: count the first class in the Dice; default: only with regions.
        per_region: with regions and an ignore label nnU-Net sums the binary cross-entropy over regions and divides by voxels alone;
            True divides by the number of regions too.
    """
    with_first = context.regions if background is None else background
    ce: Term = lambda v: cross_entropy(v, context, label_smoothing=label_smoothing)  # noqa: E731
    if context.regions:
        ce = lambda v: binary_cross_entropy(v, context, per_region=per_region)  # noqa: E731
    return sum_of(context, (weight_ce, ce), (weight_dice, lambda v: soft_dice(v, context, smooth=smooth, background=with_first)))


@LOSSES.register("DiceTopK")
def dice_top_k(
    context: LossContext,
    *,
    percent: Percent = 10.0,
    weight_dice: Weight = 1.0,
    weight_ce: Weight = 1.0,
    smooth: Weight = 1e-5,
    label_smoothing: Smoothing = 0.0,
) -> Loss:
    """Soft Dice and the cross-entropy of the hardest voxels."""
    hardest: Term = lambda v: top_k(v, context, percent=percent, label_smoothing=label_smoothing)  # noqa: E731
    return sum_of(
        context,
        (weight_ce, hardest),
        (weight_dice, lambda v: soft_dice(v, context, smooth=smooth, background=context.regions)),
    )


@LOSSES.register("GeneralisedDiceCE")
def generalised_dice_ce(context: LossContext, *, weight_dice: Weight = 1.0, weight_ce: Weight = 1.0, smooth: Weight = 1e-5) -> Loss:
    """Generalised Dice and cross-entropy."""
    gdl: Term = lambda v: generalised_dice(v, context, smooth=smooth)  # noqa: E731
    return sum_of(context, (weight_ce, lambda v: cross_entropy(v, context)), (weight_dice, gdl))
