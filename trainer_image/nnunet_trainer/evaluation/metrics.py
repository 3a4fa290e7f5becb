"""Dice, IoU and the counts they come from, per label or region."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LabelOrRegion = int | tuple[int, ...]
Metrics = dict[str, float]


def overlap(
    reference: np.ndarray, prediction: np.ndarray, labels_or_regions: Sequence[LabelOrRegion], ignore_label: int | None = None
) -> dict[LabelOrRegion, Metrics]:
    """nnU-Net's metrics of one case.

    One pass over the voxels makes a contingency table of (reference label, predicted label); all is counted from that.

    Args:
        reference: integer labels.
        prediction: integer labels, same shape.
        labels_or_regions: what to count.
        ignore_label: voxels where the reference has it count nowhere.

    Returns:
        for each: Dice and IoU (NaN when both are empty), TP, FP, FN, TN, n_pred, n_ref in voxels.
    """
    if ignore_label is not None:
        keep = reference != ignore_label
        reference, prediction = reference[keep], prediction[keep]
    names_ref, names_pred, table = _contingency(reference.ravel(), prediction.ravel())
    total = int(table.sum())
    results: dict[LabelOrRegion, Metrics] = {}
    for name in labels_or_regions:
        members = [name] if isinstance(name, (int, np.integer)) else list(name)
        in_ref, in_pred = np.isin(names_ref, members), np.isin(names_pred, members)
        tp = int(table[np.ix_(in_ref, in_pred)].sum())
        n_ref, n_pred = int(table[in_ref].sum()), int(table[:, in_pred].sum())
        fp, fn = n_pred - tp, n_ref - tp
        union = tp + fp + fn
        results[name] = {
            "Dice": 2 * tp / (2 * tp + fp + fn) if union else math.nan,
            "IoU": tp / union if union else math.nan,
            "FP": fp,
            "TP": tp,
            "FN": fn,
            "TN": total - union,
            "n_pred": n_pred,
            "n_ref": n_ref,
        }
    return results


def _contingency(reference: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The labels of each, and how often each pair meets: (labels of reference, labels of prediction)."""
    if not reference.size:
        return np.zeros(0, int), np.zeros(0, int), np.zeros((0, 0), int)
    lowest = min(int(reference.min()), int(prediction.min()))
    extent = max(int(reference.max()), int(prediction.max())) - lowest + 1
    if extent <= 1024:
        pairs = (reference.astype(np.int32) - lowest) * extent + (prediction.astype(np.int32) - lowest)
        names = np.arange(lowest, lowest + extent)
        return names, names, np.bincount(pairs, minlength=extent * extent).reshape(extent, extent)
    names_ref, ref = np.unique(reference, return_inverse=True)
    names_pred, pred = np.unique(prediction, return_inverse=True)
    counts = np.bincount(ref * len(names_pred) + pred, minlength=len(names_ref) * len(names_pred))
    return names_ref, names_pred, counts.reshape(len(names_ref), len(names_pred))
