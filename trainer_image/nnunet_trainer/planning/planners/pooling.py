"""How often each axis is pooled, and the kernels of each stage: what a planner's `pooling` may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated

from nnunet_trainer.extensions import Range, Registry

from .facts import ConfigurationFacts
from .topology import Topology, topology

POOLINGS: Registry[Callable[..., Topology]] = Registry("planner step")
"""Functions `(configuration, patch, **parameters) -> Topology`; the patch is voxels along (z,) y, x, before it is padded."""


@POOLINGS.register("FinestAxes")
def finest_axes(configuration: ConfigurationFacts, patch: Sequence[float]) -> Topology:
    """Pools the axes whose spacing is below twice that of the finest axis that can still be pooled: nnU-Net v2's."""
    kind = configuration.planner
    return topology(configuration.spacing, patch, kind.min_edge_length, kind.max_pooling)


@POOLINGS.register("FinestOfAllAxes")
def finest_of_all_axes(configuration: ConfigurationFacts, patch: Sequence[float]) -> Topology:
    """Pools the axes whose spacing is below twice that of the finest of all axes, and stops when none of them can be pooled.

    v1's v21 planners. A kernel is 3 along the largest group of axes whose spacings are within a factor of two of each other, by
    itself at each stage, and 3 along all axes at the last one.
    """
    kind, axes = configuration.planner, range(len(patch))
    spacing, size = [float(s) for s in configuration.spacing], [float(n) for n in patch]
    poolings, strides, kernels = [0] * len(patch), [[1] * len(patch)], []
    while True:
        fine = [a for a in axes if spacing[a] / min(spacing) < 2]
        chosen = [a for a in fine if size[a] >= 2 * kind.min_edge_length and poolings[a] < kind.max_pooling]
        if not chosen:
            break
        groups = [[b for b in axes if spacing[b] / spacing[a] < 2 and spacing[a] / spacing[b] < 2] for a in axes]
        largest = max(groups, key=len)  # the first of equal ones
        kernels.append([3 if a in largest else 1 for a in axes])
        strides.append([2 if a in chosen else 1 for a in axes])
        for a in chosen:
            poolings[a] += 1
            spacing[a] *= 2
            size[a] = math.ceil(size[a] / 2)
    return Topology.of(patch, strides, [*kernels, [3] * len(patch)])


@POOLINGS.register("Late")
def late(configuration: ConfigurationFacts, patch: Sequence[float]) -> Topology:
    """Pools each axis as often as its length allows, shorter axes in the last stages only: v1's ExperimentPlanner.

    A kernel is 1 along an axis whose spacing has come to more than half the coarsest one's, until all have; then 3.
    """
    kind, axes = configuration.planner, range(len(patch))
    poolings = [max(0, min(kind.max_pooling, math.floor(math.log2(max(1, n) / kind.min_edge_length)))) for n in patch]
    spacing, most = [float(s) for s in configuration.spacing], max(poolings)
    reach, strides, kernels = max(spacing), [[1] * len(patch)], []
    for step in range(most):
        reached = [spacing[a] / reach > 0.5 for a in axes]
        kernels.append([1 if reached[a] and not all(reached) else 3 for a in axes])
        strides.append([2 if poolings[a] + step >= most else 1 for a in axes])
        spacing = [s * p for s, p in zip(spacing, strides[-1], strict=True)]
    return Topology.of(patch, strides, [*kernels, [3] * len(patch)])


@POOLINGS.register("FinestAxesAllKernels3")
def finest_axes_all_kernels_3(configuration: ConfigurationFacts, patch: Sequence[float]) -> Topology:
    """As FinestAxes, with kernels of 3 along all axes at every stage."""
    return _all_kernels_3(finest_axes(configuration, patch))


@POOLINGS.register("LateAllKernels3")
def late_all_kernels_3(configuration: ConfigurationFacts, patch: Sequence[float]) -> Topology:
    """As Late, with kernels of 3 along all axes at every stage: v1's ExperimentPlannerAllConv3x3."""
    return _all_kernels_3(late(configuration, patch))


@POOLINGS.register("EveryAxis")
def every_axis(configuration: ConfigurationFacts, patch: Sequence[float], *, times: Annotated[int, Range(1, 16)] = 3) -> Topology:
    """Halves volumes so many times along every axis, as tokens of 8×8×8 voxels need; slices are as by FinestAxes."""
    if configuration.two:
        return finest_axes(configuration, patch)
    axes = len(patch)
    return Topology.of(patch, [[1] * axes, *[[2] * axes] * times], [[3] * axes] * (times + 1))


def _all_kernels_3(found: Topology) -> Topology:
    kernels = [[3] * len(row) for row in found.kernel_sizes]
    return Topology(found.strides, kernels, found.patch_size, found.divisor)
