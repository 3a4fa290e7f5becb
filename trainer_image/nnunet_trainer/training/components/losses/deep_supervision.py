"""The loss at several resolutions: where the outputs lie, and how much each counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def scales(strides: Sequence[Sequence[int] | int], dimensions: int) -> list[list[float]]:
    """Per output, the finest first, its size as a fraction of the patch: 1 / the strides so far; the bottleneck has no output.

    Args:
        strides: of each stage, as in plans.
        dimensions: 2 or 3.
    """
    each = np.array([[s] * dimensions if isinstance(s, int) else s for s in strides], float)
    return (1 / np.cumprod(each, axis=0))[:-1].tolist()


def weights(count: int, *, coarsest: bool = False) -> list[float]:
    """2^-i, normalised to 1; the coarsest output 0 unless it counts. A single output has weight 1.

    (nnU-Net's own formula leaves 0/0 for a network of two stages, whose loss is then NaN.)
    """
    raw = [2.0**-i for i in range(count)]
    if count > 1 and not coarsest:
        raw[-1] = 0.0
    return [w / sum(raw) for w in raw]


def soft_targets(
    target: Tensor, scales: Sequence[Sequence[float]], classes: int, *, regions: bool, ignore_label: int | None
) -> list[Tensor]:
    """The target of each output: as it is at full resolution, below it the share that each class has of a voxel.

    Args:
        target: labels (b, 1, *patch), or masks (b, regions [+ ignore], *patch).
        scales: as from `scales`.
        classes: segmentation heads.
        regions: whether the target is masks.
        ignore_label: shares are those of the voxels that are not ignored; the last channel is the ignored share.

    Returns:
        One tensor an output; the soft ones (b, classes [+ ignore], *smaller patch) float32.
    """
    labels = [*range(classes), *([] if ignore_label is None else [ignore_label])]
    patch, results = target.shape[2:], []
    for scale in scales:
        size = [round(n * factor) for n, factor in zip(patch, scale, strict=True)]
        if size == list(patch):
            results.append(target)
            continue
        # One class at a time: all of them at full resolution would take classes × 4 bytes a voxel.
        masks = target.unbind(1) if regions else (target[:, 0] == label for label in labels)
        pool = F.adaptive_avg_pool2d if len(size) == 2 else F.adaptive_avg_pool3d
        shares = torch.stack([pool(mask.float(), size) for mask in masks], dim=1)
        if ignore_label is not None:
            shares[:, :-1] /= (1 - shares[:, -1:]).clamp_min(1e-6)
        results.append(shares)
    return results


def supervised(
    loss: Callable[[Tensor, Tensor], Tensor], factors: Sequence[float]
) -> Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]:
    """`loss` at each output, weighted; outputs of weight 0 are not looked at."""

    def total(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        terms = [w * loss(o, t) for w, o, t in zip(factors, outputs, targets, strict=True) if w]
        return sum(terms[1:], start=terms[0])

    return total
