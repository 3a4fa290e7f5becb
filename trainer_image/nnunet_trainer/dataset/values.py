"""Values that a case may not have: rules of preprocessing that verifying asks first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .readers.agreement import by


def spacing_fault(spacing: Sequence[float]) -> str:
    """What is wrong with a spacing along z, y, x; empty if nothing is. Resampling divides by it."""
    if all(0 < value < math.inf for value in spacing):
        return ""
    return f"spacing {by(spacing)}, expected positive numbers"


def rgb_fault(channel: np.ndarray) -> str:
    """What is wrong with a channel (z, y, x) that is normalized as a colour; empty if nothing is."""
    low, high = channel.min(), channel.max()
    return f"RGB values from {low:g} to {high:g}, expected 0 to 255" if low < 0 or high > 255 else ""
