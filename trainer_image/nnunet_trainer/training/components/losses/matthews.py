"""Matthews' correlation coefficient of each class."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registries import LOSSES
from .context import Loss, LossContext, Voxels, Weight, known_truth, over_batch, own_share, probabilities, sum_of


def matthews(voxels: Voxels, context: LossContext, *, background: bool, eps: float) -> Tensor:
    """-mean of Matthews' correlation coefficient of each class, of soft counts divided by the number of voxels."""
    p, y = probabilities(voxels, context), known_truth(voxels)
    count = torch.ones_like(p) if voxels.mask is None else voxels.mask.expand_as(p).float()
    first, axes = 0 if background or context.regions else 1, tuple(range(2, p.ndim))
    sums = torch.stack(((p * y).sum(axes), p.sum(axes), y.sum(axes), count.sum(axes)))[:, :, first:]
    both, predicted, volume, voxel_count = over_batch(sums, context)
    tp, fp, fn = (x / voxel_count.clamp_min(1) for x in (both, predicted - both, volume - both))
    tn = 1 - tp - fp - fn
    product = ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)).clamp_min(0)
    # The root's slope is infinite at 0, where a class is absent: v1's loss became NaN there.
    return own_share(-((tp * tn - fp * fn) / (product + eps).sqrt()).mean(), context)


@LOSSES.register("MCC")
def mcc(context: LossContext, *, background: bool = True, eps: Weight = 1e-8) -> Loss:
    """Matthews' correlation coefficient.

    Args:
        context: of the training.
        background: count the first class too.
        eps: added below the root. With 0, as in v1, the loss is NaN where a class neither is nor is predicted.
    """
    return sum_of(context, (1.0, lambda v: matthews(v, context, background=background, eps=eps)))
