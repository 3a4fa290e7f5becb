"""Pseudo-Dice: hard Dice over all patches of a validation epoch together, nnU-Net's green line."""

from __future__ import annotations

import math

import torch
from torch import Tensor

PLACES = 2**14
"""Where pairs of true and predicted classes are counted."""


def counts(logits: Tensor, target: Tensor, *, regions: bool, ignore_label: int | None) -> Tensor:
    """True positives, false positives and false negatives of each foreground class in a batch; a GPU is not waited for.

    Args:
        logits: (b, c, *patch).
        target: labels (b, 1, *patch), or masks (b, regions [+ ignore], *patch).
        regions: whether heads are sigmoids.
        ignore_label: does not count.

    Returns:
        (3, classes) float64, on the logits' device; the background is left out.
    """
    axes = (0, *range(2, logits.ndim))
    if regions:
        predicted, truth = logits > 0, target.bool()
        if ignore_label is not None:
            truth, valid = truth[:, :-1], ~truth[:, -1:]
            predicted, truth = predicted & valid, truth & valid
        both = (predicted & truth).sum(axes)
        return torch.stack((both, predicted.sum(axes) - both, truth.sum(axes) - both)).double()
    classes = logits.shape[1]
    predicted, truth = logits.argmax(1).flatten(), target[:, 0].long().flatten()
    counted = torch.ones(1, dtype=torch.long, device=truth.device).expand_as(truth)
    if ignore_label is not None:
        valid = truth != ignore_label
        truth, counted = truth.where(valid, 0), valid.long()
    # Not `bincount`, for which a GPU is waited for. Each pair of classes is counted at several places: those who add at one wait.
    spread = max(1, PLACES // classes**2)
    place = (truth * classes + predicted) * spread + torch.arange(len(truth), device=truth.device) % spread
    pairs = torch.zeros(classes**2 * spread, dtype=torch.long, device=truth.device).scatter_add_(0, place, counted)
    confusion = pairs.view(classes, classes, spread).sum(-1)
    both = confusion.diagonal()
    return torch.stack((both, confusion.sum(0) - both, confusion.sum(1) - both))[:, 1:].double()


def dice(true_positives: float, false_positives: float, false_negatives: float) -> float:
    """2·tp / (2·tp + fp + fn); NaN where there is nothing to find and nothing was found."""
    denominator = 2 * true_positives + false_positives + false_negatives
    return 2 * true_positives / denominator if denominator else math.nan
