"""What the numbers of an augmentation may be, and how one is drawn about 1."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from nnunet_trainer.extensions import Range

Probability = Annotated[float, Range(0, 1)]
NotNegative = Annotated[float, Range(0)]

# Intervals [low, high] that a number is drawn from.
Anywhere = Annotated[tuple[float, float], Range()]
FromZero = Annotated[tuple[float, float], Range(0)]
AboveZero = Annotated[tuple[float, float], Range(0, low_open=True)]
Share = Annotated[tuple[float, float], Range(0, 1, low_open=True)]


def around_one(rng: np.random.Generator, low: float, high: float) -> float:
    """Below and above 1 with equal probability, uniform on each side."""
    if rng.random() < 0.5 and low < 1:
        return rng.uniform(low, 1)
    return rng.uniform(max(low, 1), high)
