"""Counts for the pseudo-Dice are those of their definition."""

import numpy as np
import pytest
import torch
from nnunet_trainer.training.loop.validation import pseudo_dice


def expected(predicted, truth, counted):
    """(3, classes) of masks (classes, b, *patch), where they count."""
    predicted, truth = predicted & counted, truth & counted
    pairs = (predicted, truth), (predicted, ~truth & counted), (~predicted & counted, truth)
    return [[int((a & b).sum()) for a, b in zip(*pair, strict=True)] for pair in pairs]


@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 17, 150])  # of the last ones, more pairs than places
@pytest.mark.parametrize("patch", [(5, 7, 6), (9, 8)], ids=str)
def test_labels(patch, classes, ignores):
    rng = np.random.default_rng(classes)
    logits = rng.normal(size=(2, classes, *patch)).astype(np.float32)
    truth = rng.integers(0, classes + ignores, (2, 1, *patch)).astype(np.int16)
    found = pseudo_dice.counts(
        torch.from_numpy(logits), torch.from_numpy(truth), regions=False, ignore_label=classes if ignores else None
    )
    labels = np.arange(1, classes).reshape(-1, 1, *[1] * len(patch))
    predicted, there = logits.argmax(1)[None] == labels, truth[:, 0][None] == labels
    assert found.dtype == torch.float64
    assert found.tolist() == expected(predicted, there, truth[:, 0] < classes)


@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("patch", [(5, 7, 6), (9, 8)], ids=str)
def test_regions(patch, ignores):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, *patch)).astype(np.float32)
    truth = rng.random((2, 3 + ignores, *patch)) < 0.4
    found = pseudo_dice.counts(torch.from_numpy(logits), torch.from_numpy(truth), regions=True, ignore_label=3 if ignores else None)
    counted = ~truth[:, 3] if ignores else np.ones_like(truth[:, 0])
    assert found.tolist() == expected((logits > 0).swapaxes(0, 1), truth[:, :3].swapaxes(0, 1), counted)


def test_patches_that_are_ignored_altogether_count_nothing():
    target = torch.full((1, 1, 4, 4), 3, dtype=torch.int16)
    found = pseudo_dice.counts(torch.randn(1, 3, 4, 4), target, regions=False, ignore_label=3)
    assert found.tolist() == [[0, 0]] * 3
