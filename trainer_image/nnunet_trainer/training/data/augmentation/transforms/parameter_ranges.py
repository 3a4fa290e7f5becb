"""What the numbers of an augmentation may be."""

from __future__ import annotations

from typing import Annotated

from nnunet_trainer.extensions import Range

Probability = Annotated[float, Range(0, 1)]
NotNegative = Annotated[float, Range(0)]

# Intervals [low, high] that a number is drawn from.
Anywhere = Annotated[tuple[float, float], Range()]
FromZero = Annotated[tuple[float, float], Range(0)]
AboveZero = Annotated[tuple[float, float], Range(0, low_open=True)]
Share = Annotated[tuple[float, float], Range(0, 1, low_open=True)]
