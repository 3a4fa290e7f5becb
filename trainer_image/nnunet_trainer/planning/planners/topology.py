"""How often a network pools along each axis, and with which kernels."""

from __future__ import annotations

import math
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

    @property
    def poolings(self) -> list[int]:
        """How often each axis is halved; of other strides the logarithm, rounded down."""
        return [int(np.log2(d)) for d in self.divisor]

    def fault(self, axes: int) -> str | None:
        """What is wrong with it as the shape of a U-Net for so many axes, if anything."""
        if len(self.patch_size) != axes or len(self.divisor) != axes:
            return f"patch_size and divisor of {axes} numbers"
        if len(self.strides) != len(self.kernel_sizes) or len(self.strides) < 1:
            return "as many kernel_sizes as strides, one a stage"
        rows = [*self.strides, *self.kernel_sizes]
        if any(len(row) != axes or not all(isinstance(n, int) and n > 0 for n in row) for row in rows):
            return f"strides and kernel_sizes of {axes} positive integers a stage"
        if any(n % 2 == 0 for row in self.kernel_sizes for n in row):
            return "odd kernel_sizes"
        product = [math.prod(row[axis] for row in self.strides) for axis in range(axes)]
        if product != list(self.divisor):
            return f"a divisor of {product}, the product of its strides"
        if any(n % d for n, d in zip(self.patch_size, product, strict=True)):
            return f"a patch_size that is a multiple of {product}"
        return None

    @classmethod
    def of(cls, patch_size: Sequence[float], strides: Sequence[Sequence[int]], kernel_sizes: Sequence[Sequence[int]]) -> Topology:
        """The topology of strides and kernels (of each stage, the first strides all 1), with the patch padded for it."""
        divisor = [math.prod(row[axis] for row in strides) for axis in range(len(patch_size))]
        padded = [int(n if n % d == 0 else n + d - n % d) for n, d in zip(patch_size, divisor, strict=True)]
        return cls([list(row) for row in strides], [list(row) for row in kernel_sizes], padded, divisor)


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
    return Topology.of(patch_size, strides, [*kernels, [3] * len(spacing)])
