"""What losses are made of: what they must know of the training, the voxels that count, sums of weighted terms.

Logits are (b, c, *patch). Targets are labels (b, 1, *patch), or with regions one mask a region (b, regions [+ ignore], *patch).
Soft targets (`deep_supervision.soft_targets`) are probabilities (b, c [+ ignore], *patch).
Each rank returns its share of the whole batch's loss (see `ranks.distributed`), so that the sum over ranks is the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Range

from ...ranks.distributed import share_of_common, sum_over_ranks

Weight = Annotated[float, Range(0)]

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


def probabilities(voxels: Voxels, context: LossContext) -> Tensor:
    """Of each class, 0 where a voxel does not count."""
    p = torch.sigmoid(voxels.logits) if context.regions else torch.softmax(voxels.logits, 1)
    return p if voxels.mask is None else p * voxels.mask


def known_truth(voxels: Voxels) -> Tensor:
    """Masks of each class as numbers, 0 where a voxel does not count."""
    truth = voxels.truth if voxels.mask is None else voxels.truth * voxels.mask
    return truth.float()


def over_batch(sums: Tensor, context: LossContext) -> Tensor:
    """Sums (n, b, c) as they are, or over the whole batch (n, 1, c)."""
    return sum_over_ranks(sums.sum(1, keepdim=True)) if context.batch_dice else sums


def own_share(value: Tensor, context: LossContext) -> Tensor:
    return share_of_common(value) if context.batch_dice else value * context.share
