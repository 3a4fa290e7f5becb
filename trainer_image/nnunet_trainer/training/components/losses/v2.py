"""Segmentation losses by name.

Logits are (b, c, *patch). Targets are labels (b, 1, *patch), or with regions one mask a region (b, regions [+ ignore], *patch).
Soft targets (`deep_supervision.soft_targets`) are probabilities (b, c [+ ignore], *patch).
Each rank returns its share of the whole batch's loss (see `distributed`), so that the sum over ranks is the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Range

from ...ranks.distributed import share_of_common, sum_over_ranks
from ..registries import LOSSES

Weight = Annotated[float, Range(0)]
Smoothing = Annotated[float, Range(0, 1, high_open=True)]
Percent = Annotated[float, Range(0, 100, low_open=True)]

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossContext:
    """What a loss must know of the dataset, the plans and this rank.

    Args:
        regions: targets are region masks, heads are sigmoids; otherwise labels and a softmax.
        ignore_label: voxels of this label do not count; with regions it is the target's last channel.
        batch_dice: Dice over the whole batch instead of each sample.
        share: samples of this rank, of all.
    """

    regions: bool = False
    ignore_label: int | None = None
    batch_dice: bool = False
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Voxels:
    """Logits and target, as the terms need them.

    Args:
        logits: (b, c, *patch).
        labels: (b, *patch) int64, or probabilities as `truth`; regions have none.
        truth: (b, c, *patch) bool, one-hot or region masks; or probabilities.
        mask: (b, 1, *patch) bool, voxels that count; None: all.
    """

    logits: Tensor
    labels: Tensor | None
    truth: Tensor
    mask: Tensor | None

    @classmethod
    def of(cls, logits: Tensor, target: Tensor, context: LossContext) -> Voxels:
        """Split a target into what is true and what counts."""
        if target.is_floating_point() and (context.regions or target.shape[1] > 1):
            known = None if context.ignore_label is None else target[:, -1:] < 1
            truth = target if known is None else target[:, :-1]
            return cls(logits, None if context.regions else truth, truth, known)
        if context.regions:
            truth, mask = target.bool(), None
            if context.ignore_label is not None:
                truth, mask = truth[:, :-1], ~truth[:, -1:]
            return cls(logits, None, truth, mask)
        labels, mask = target.long(), None
        known = labels
        if context.ignore_label is not None:
            mask = labels != context.ignore_label
            known = labels.where(mask, 0)
        truth = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device).scatter_(1, known, True)
        return cls(logits, labels[:, 0], truth, mask)


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


def cross_entropy(voxels: Voxels, context: LossContext, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean over all voxels that count; with regions the mean binary cross-entropy."""
    if context.regions:
        return _binary_cross_entropy(voxels, context, per_region=False)
    assert voxels.labels is not None
    if voxels.mask is None:
        return F.cross_entropy(voxels.logits, voxels.labels, label_smoothing=label_smoothing) * context.share
    summed = each_voxel(voxels, context, label_smoothing).sum()
    return summed / sum_over_ranks(voxels.mask.sum().float()).clamp_min(1)


def each_voxel(voxels: Voxels, context: LossContext, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each voxel (b, *patch), or with regions of each region's (b, regions, *patch); 0 where it does not count."""
    if context.regions:
        truth = voxels.truth.to(voxels.logits.dtype)
        each = F.binary_cross_entropy_with_logits(voxels.logits, truth, reduction="none")
        return each if voxels.mask is None else each * voxels.mask
    assert voxels.labels is not None
    if voxels.labels.is_floating_point():
        each = F.cross_entropy(voxels.logits, voxels.labels, label_smoothing=label_smoothing, reduction="none")
        return each if voxels.mask is None else each * voxels.mask[:, 0]
    ignore = -100 if context.ignore_label is None else context.ignore_label
    return F.cross_entropy(voxels.logits, voxels.labels, ignore_index=ignore, label_smoothing=label_smoothing, reduction="none")


def _binary_cross_entropy(voxels: Voxels, context: LossContext, *, per_region: bool) -> Tensor:
    if voxels.mask is None:
        return F.binary_cross_entropy_with_logits(voxels.logits, voxels.truth.to(voxels.logits.dtype)) * context.share
    summed = each_voxel(voxels, context).sum()
    count = sum_over_ranks(voxels.mask.sum().float()).clamp_min(1)
    return summed / (count * voxels.logits.shape[1]) if per_region else summed / count


def top_k(voxels: Voxels, context: LossContext, *, percent: float, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy averaged over the hardest `percent` of this rank's voxels."""
    each = each_voxel(voxels, context, label_smoothing)
    hardest = torch.topk(each.flatten(), max(1, int(each.numel() * percent / 100)), sorted=False).values
    return hardest.mean() * context.share


def sum_of(context: LossContext, *terms: tuple[float, Callable[[Voxels], Tensor]]) -> Loss:
    """A loss from weighted terms; those of weight 0 are left out."""
    used = [(weight, term) for weight, term in terms if weight]
    if not used:
        raise BadConfiguration("InvalidRecipe", "recipe.loss: all weights are 0, so that nothing would be learned.")

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        voxels = Voxels.of(logits, target, context)
        first, *rest = (term(voxels) if weight == 1 else weight * term(voxels) for weight, term in used)
        return sum(rest, start=first)

    return loss


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
    ce: Callable[[Voxels], Tensor] = lambda v: cross_entropy(v, context, label_smoothing=label_smoothing)  # noqa: E731
    if context.regions:
        ce = lambda v: _binary_cross_entropy(v, context, per_region=per_region)  # noqa: E731
    return sum_of(context, (weight_ce, ce), (weight_dice, lambda v: soft_dice(v, context, smooth=smooth, background=with_first)))


@LOSSES.register("CE")
def ce(context: LossContext, *, label_smoothing: Smoothing = 0.0) -> Loss:
    """Cross-entropy; with regions binary cross-entropy."""
    return sum_of(context, (1.0, lambda v: cross_entropy(v, context, label_smoothing=label_smoothing)))


@LOSSES.register("Dice")
def dice(context: LossContext, *, smooth: Weight = 1e-5, background: bool | None = None) -> Loss:
    """Soft Dice."""
    with_first = context.regions if background is None else background
    return sum_of(context, (1.0, lambda v: soft_dice(v, context, smooth=smooth, background=with_first)))


@LOSSES.register("TopK")
def top_k_ce(context: LossContext, *, percent: Percent = 10.0, label_smoothing: Smoothing = 0.0) -> Loss:
    """Cross-entropy of the hardest voxels."""
    return sum_of(context, (1.0, lambda v: top_k(v, context, percent=percent, label_smoothing=label_smoothing)))


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
    hardest: Callable[[Voxels], Tensor] = lambda v: top_k(v, context, percent=percent, label_smoothing=label_smoothing)  # noqa: E731
    return sum_of(
        context,
        (weight_ce, hardest),
        (weight_dice, lambda v: soft_dice(v, context, smooth=smooth, background=context.regions)),
    )
