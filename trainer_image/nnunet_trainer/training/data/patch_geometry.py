"""What the shape of the patch decides: how far to rotate, whether slice by slice, and how much margin to cut out for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .spatial_placement import Spatial

ANISOTROPIC = 3
"""A patch whose longest edge is more than this many times its first is rotated within its slices only."""

ELONGATED = 1.5
"""A 2D patch whose edges differ by more than this factor."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Rotation in ± radians, whether slices are transformed each for itself (dummy 2D), patch to cut out, axes to mirror."""

    rotation: float
    dummy_2d: bool
    initial_patch_size: tuple[int, ...]
    mirror_axes: tuple[int, ...]


def _rotated(edges: np.ndarray, plane: tuple[int, int], angle: float) -> np.ndarray:
    """|R·edges| for a rotation by `angle` within a plane of two axes."""
    turned = edges.astype(float).copy()
    a, b = plane
    sine, cosine = math.sin(angle), math.cos(angle)
    turned[a] = cosine * edges[a] + sine * edges[b]
    turned[b] = cosine * edges[b] - sine * edges[a]
    return np.abs(turned)


def _enlarged(patch_size: Sequence[int], rotation: float, scale: float) -> tuple[int, ...]:
    edges = np.array(patch_size)
    angle = min(math.pi / 2, rotation)
    # In 3D the sense of each axis' rotation is nnU-Net's: about the second axis it is the other way round.
    planes = [(0, 1)] if len(edges) == 2 else [(1, 2), (2, 0), (0, 1)]
    largest = np.max([edges.astype(float), *(_rotated(edges, plane, angle) for plane in planes)], axis=0)
    return tuple(int(edge) for edge in largest / scale)


def geometry(patch_size: Sequence[int], spatial: Spatial, *, mirror_axes: Sequence[int] | None = None) -> Geometry:
    """nnU-Net's choice for a patch of 2 or 3 axes.

    Args:
        patch_size: what the network sees.
        spatial: how patches are rotated and scaled; where they are not, no margin is needed.
        mirror_axes: None: all.
    """
    patch = tuple(int(n) for n in patch_size)
    axes = tuple(range(len(patch))) if mirror_axes is None else tuple(a for a in mirror_axes if a < len(patch))
    dummy_2d = spatial.dummy_2d and len(patch) == 3 and max(patch) / patch[0] > ANISOTROPIC
    if len(patch) == 2:
        elongated = max(patch) / min(patch) > ELONGATED
        rotation = math.radians(spatial.rotation_elongated if elongated else spatial.rotation_in_plane)
    else:
        rotation = math.radians(spatial.rotation_in_plane if dummy_2d else spatial.rotation)
    if not spatial.active:
        return Geometry(0.0, dummy_2d, patch, axes)
    initial = _enlarged(patch, rotation, spatial.margin_scale)
    return Geometry(rotation, dummy_2d, (patch[0], *initial[1:]) if dummy_2d else initial, axes)
