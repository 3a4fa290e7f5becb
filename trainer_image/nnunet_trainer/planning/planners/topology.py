"""How often a network pools along each axis, and with which kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Topology:
    """The shape of a U-Net for a patch.

    Attributes:
        strides: of each stage, the first all 1.
        kernel_sizes: of each stage.
        patch_size: padded so that every pooling divides it.
        divisor: what each axis is a multiple of.
    """

    strides: list[list[int]]
    kernel_sizes: list[list[int]]
    patch_size: list[int]
    divisor: list[int]

    @property
    def stages(self) -> int:
        """Resolutions, the input's own included."""
        return len(self.strides)


def topology(spacing: Sequence[float], patch_size: Sequence[float], min_edge: int = 4, max_pooling: int = 999_999) -> Topology:
    """Pool every axis whose spacing is below twice the smallest, while its feature map keeps `min_edge` voxels.

    A kernel is 1 along an axis until its spacing is within a factor of two of the smallest, then 3 for good. A sole axis is pooled
    only from three times `min_edge` on.
    """
    axes = range(len(spacing))
    current, size = [float(s) for s in spacing], [float(n) for n in patch_size]
    poolings, kernel = [0] * len(spacing), [1] * len(spacing)
    strides, kernels = [[1] * len(spacing)], []
    while True:
        large = [a for a in axes if size[a] >= 2 * min_edge]
        if not large:
            break
        finest = min(current[a] for a in large)
        chosen = [a for a in large if current[a] / finest < 2 and poolings[a] < max_pooling]
        if not chosen or (len(chosen) == 1 and size[chosen[0]] < 3 * min_edge):
            break
        kernel = [3 if k == 3 or current[a] / min(current) < 2 else 1 for a, k in enumerate(kernel)]
        for a in chosen:
            poolings[a] += 1
            current[a] *= 2
            size[a] = float(np.ceil(size[a] / 2))
        strides.append([2 if a in chosen else 1 for a in axes])
        kernels.append(kernel)
    divisor = [2**p for p in poolings]
    padded = [int(n if n % d == 0 else n + d - n % d) for n, d in zip(patch_size, divisor, strict=True)]
    return Topology(strides, [*kernels, [3] * len(spacing)], padded, divisor)
