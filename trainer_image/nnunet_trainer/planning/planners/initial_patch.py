"""The patch that the search begins with, before it is cut to the median image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np

from nnunet_trainer.extensions import Range, Registry

from .facts import ConfigurationFacts

INITIAL_PATCHES: Registry[Callable[..., Sequence[Any]]] = Registry("planner step")
"""Functions `(configuration, **parameters) -> voxels along (z,) y, x`."""

Edge = Annotated[float, Range(1, 100_000)]


@INITIAL_PATCHES.register("IsotropicInMillimetres")
def isotropic_in_millimetres(configuration: ConfigurationFacts, *, edge3d: Edge = 256, edge2d: Edge = 2048) -> Sequence[int]:
    """As many voxels as a cube of edge3d (a square of edge2d), with equal edges in millimetres: nnU-Net v2's."""
    aspect = 1 / np.array(configuration.spacing)
    volume = edge2d**2 if configuration.two else edge3d**3
    return [round(float(n)) for n in aspect * (volume / np.prod(aspect)) ** (1 / len(aspect))]


@INITIAL_PATCHES.register("IsotropicInVoxels")
def isotropic_in_voxels(configuration: ConfigurationFacts, *, edge3d: Edge = 256, edge2d: Edge = 2048) -> Sequence[int]:
    """The same number of voxels along each axis, whatever the spacing."""
    return [round(edge2d if configuration.two else edge3d)] * len(configuration.spacing)


@INITIAL_PATCHES.register("SmallestEdge")
def smallest_edge(configuration: ConfigurationFacts, *, edge: Edge = 512) -> Sequence[int]:
    """Equal edges in millimetres, of at least so many voxels along each axis: v1's 3D planners. Of slices the whole median one."""
    if configuration.two:
        return median_image(configuration)
    aspect = 1 / np.array(configuration.spacing)
    return [round(float(n)) for n in aspect / min(aspect) * edge]


@INITIAL_PATCHES.register("MedianImage")
def median_image(configuration: ConfigurationFacts) -> Sequence[int]:
    """The whole median image: v1's 2D planners, and its isotropic one in voxels."""
    return [max(1, round(float(n))) for n in configuration.median_shape]
