"""The loss at several resolutions: where the outputs lie, and how much each counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor


def scales(strides: Sequence[Sequence[int] | int], dimensions: int) -> list[list[float]]:
    """Per output, the finest first, its size as a fraction of the patch: 1 / the strides so far; the bottleneck has no output.

    Args:
        strides: of each stage, as in plans.
        dimensions: 2 or 3.
    """
    each = np.array([[s] * dimensions if isinstance(s, int) else s for s in strides], float)
    return (1 / np.cumprod(each, axis=0))[:-1].tolist()


def weights(count: int) -> list[float]:
    """2^-i, the coarsest output 0, normalised to 1. A single output has weight 1.

    (nnU-Net's own formula leaves 0/0 for a network of two stages, whose loss is then NaN.)
    """
    raw = [2.0**-i for i in range(count)]
    if count > 1:
        raw[-1] = 0.0
    return [w / sum(raw) for w in raw]


def supervised(
    loss: Callable[[Tensor, Tensor], Tensor], factors: Sequence[float]
) -> Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]:
    """`loss` at each output, weighted; outputs of weight 0 are not looked at."""

    def total(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        terms = [w * loss(o, t) for w, o, t in zip(factors, outputs, targets, strict=True) if w]
        return sum(terms[1:], start=terms[0])

    return total
