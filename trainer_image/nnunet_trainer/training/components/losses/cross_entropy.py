"""Cross-entropy: of all voxels, of the hardest ones, and the focal loss, in which what is right already counts little."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_trainer.extensions import Range

from ...ranks.distributed import active, largest, sum_over_ranks
from ..registries import LOSSES
from .context import Loss, LossContext, Voxels, Weight, sum_of

Smoothing = Annotated[float, Range(0, 1, high_open=True)]
Percent = Annotated[float, Range(0, 100, low_open=True)]


def cross_entropy(voxels: Voxels, context: LossContext, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean over all voxels that count; with regions the mean binary cross-entropy."""
    if context.regions:
        return binary_cross_entropy(voxels, context, per_region=False)
    assert voxels.labels is not None
    if voxels.mask is None:
        if voxels.logits.is_cuda and torch.are_deterministic_algorithms_enabled():
            # CUDA's kernel for the mean adds up in any order; the one for each voxel does not add up.
            return each_voxel(voxels, context, label_smoothing).mean() * context.share
        return F.cross_entropy(voxels.logits, voxels.labels, label_smoothing=label_smoothing) * context.share
    summed = each_voxel(voxels, context, label_smoothing).sum()
    return summed / sum_over_ranks(voxels.mask.sum().float()).clamp_min(1)


def binary_cross_entropy(voxels: Voxels, context: LossContext, *, per_region: bool) -> Tensor:
    if voxels.mask is None:
        return F.binary_cross_entropy_with_logits(voxels.logits, voxels.truth.to(voxels.logits.dtype)) * context.share
    summed = each_voxel(voxels, context).sum()
    count = sum_over_ranks(voxels.mask.sum().float()).clamp_min(1)
    return summed / (count * voxels.logits.shape[1]) if per_region else summed / count


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


def top_k(voxels: Voxels, context: LossContext, *, percent: float, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy averaged over the hardest `percent` of the whole batch's voxels, wherever they lie among the ranks."""
    each = each_voxel(voxels, context, label_smoothing).flatten()
    # This rank has its share of the samples, which are all of a size: a GPU is not asked.
    count = max(1, int(round(each.numel() / context.share) * percent / 100))
    if not active():
        return torch.topk(each, count, sorted=False).values.mean()
    threshold = largest(torch.topk(each.detach(), min(count, each.numel())).values, count)[-1]
    harder, equal = each > threshold, each == threshold
    # Of voxels exactly as hard as the last one, each counts a part.
    counted, equals = sum_over_ranks(torch.stack((harder.sum(), equal.sum())).double()).unbind()
    part = ((count - counted) / equals.clamp_min(1)).to(each.dtype)
    return (each.where(harder, 0).sum() + each.where(equal, 0).sum() * part) / count


def focal(voxels: Voxels, context: LossContext, *, gamma: float, alpha: float) -> Tensor:
    """Mean of -α(1-pt)^γ·log pt, pt the probability of what is true (Lin et al., 2017)."""
    each = each_voxel(voxels, context)
    each = each if context.regions else each[:, None]
    weighted = alpha * (1 - torch.exp(-each)).clamp_min(1e-8) ** gamma * each
    if voxels.mask is None:
        return weighted.mean() * context.share
    counted = sum_over_ranks(voxels.mask.sum().float()).clamp_min(1) * weighted.shape[1]
    return (weighted * voxels.mask).sum() / counted


@LOSSES.register("CE")
def ce(context: LossContext, *, label_smoothing: Smoothing = 0.0) -> Loss:
    """Cross-entropy; with regions binary cross-entropy."""
    return sum_of(context, (1.0, lambda v: cross_entropy(v, context, label_smoothing=label_smoothing)))


@LOSSES.register("TopK")
def top_k_ce(context: LossContext, *, percent: Percent = 10.0, label_smoothing: Smoothing = 0.0) -> Loss:
    """Cross-entropy of the hardest voxels."""
    return sum_of(context, (1.0, lambda v: top_k(v, context, percent=percent, label_smoothing=label_smoothing)))


@LOSSES.register("Focal")
def focal_loss(context: LossContext, *, gamma: Weight = 2.0, alpha: Annotated[float, Range(0, 1)] = 0.5) -> Loss:
    """Focal loss: what is right already counts little."""
    return sum_of(context, (1.0, lambda v: focal(v, context, gamma=gamma, alpha=alpha)))
