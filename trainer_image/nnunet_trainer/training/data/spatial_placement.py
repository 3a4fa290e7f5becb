"""Rotation, scaling and elastic deformation: how often, how far, what one sample draws, and which part of the image it then needs.

Drawn where patches are read, before anything is: no torch here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from nnunet_trainer.extensions import Range

from .deformation import Deformation, by_scale, by_strength
from .parameter_ranges import AboveZero, FromZero, Probability, Share, around_one

Degrees = Annotated[float, Range(0, 180)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spatial:
    """Deformation, rotation and scaling about the patch's centre, each drawn for itself. A scale above 1 makes things smaller."""

    rotation_probability: Probability = 0.2
    rotation_axis_probability: Probability = 1.0
    """Of each axis, when a sample is rotated."""
    rotation_axis_probability_2d: Probability | None = None
    """Instead, for 2D patches."""
    rotation: Degrees = 30.0
    """Up to ± this, about each axis of a 3D patch."""
    rotation_in_plane: Degrees = 180.0
    """Up to ± this, of 2D patches and of the slices of anisotropic ones (`dummy_2d`)."""
    rotation_elongated: Degrees = 15.0
    """Instead, of 2D patches one of whose edges is more than 1.5 times the other."""
    scale_probability: Probability = 0.2
    scale: AboveZero = (0.7, 1.4)
    scale_around_one: bool = False
    """Draw scales below and above 1 equally often, instead of uniformly."""
    scale_axis_probability: Probability = 0.0
    """Of a scale of its own for each axis, when a sample is scaled."""
    scale_along: Literal["patch", "image"] = "patch"
    """Whose axes these are, when a sample is rotated too."""
    elastic_probability: Probability = 0.0
    elastic_alpha: FromZero = (0.0, 900.0)
    """Strength: what noise between -1 and 1 is multiplied by after blurring."""
    elastic_alpha_2d: FromZero | None = None
    """Instead, for 2D patches and slices of anisotropic ones."""
    elastic_sigma: Annotated[tuple[float, float], Range(1)] = (9.0, 13.0)
    """How far the noise is blurred, in voxels."""
    elastic_scale: Share | None = None
    """Instead of alpha and sigma: blurred by this share of each edge; the largest displacement is 1/8 to 1/2 of that."""
    margin_scale: Annotated[float, Range(0, 1, low_open=True)] = 0.85
    """What is cut out before rotation is the rotated patch's extent divided by this. (nnU-Net's 0.85, although it scales by 0.7;
    kept, so that patches show what the reference's show.)"""
    image_order: Literal[0, 1, 3] = 1
    """0 nearest, 1 linear, 3 cubic."""
    segmentation_order: Literal[0, 1] = 1
    dummy_2d: bool = True
    """Whether anisotropic 3D patches are transformed slice by slice."""

    @property
    def active(self) -> bool:
        """Whether anything is ever resampled."""
        return max(self.rotation_probability, self.scale_probability, self.elastic_probability) > 0


@dataclass(frozen=True, slots=True)
class Placement:
    """What one sample has drawn: a matrix (d, d), and how it is deformed before."""

    matrix: np.ndarray
    deformation: Deformation | None = None


def draw(
    spatial: Spatial, rotation: float, patch_size: Sequence[int], dummy_2d: bool, rng: np.random.Generator
) -> Placement | None:
    """A sample's placement; None: it stays as it is.

    Args:
        spatial: what to draw from.
        rotation: in ± radians.
        patch_size: what the network sees.
        dummy_2d: whether its slices are transformed.
        rng: of the sample.
    """
    shape = patch_size[1:] if dummy_2d else patch_size
    d = len(shape)
    rotates, scales = rng.random() < spatial.rotation_probability, rng.random() < spatial.scale_probability
    angles = rng.uniform(-rotation, rotation, d)
    axis_probability = spatial.rotation_axis_probability
    if len(patch_size) == 2 and spatial.rotation_axis_probability_2d is not None:
        axis_probability = spatial.rotation_axis_probability_2d
    if axis_probability < 1:
        angles *= rng.random(d) < axis_probability
    drawn = _draw_scales(spatial, d, rng)
    deformation = _draw_deformation(spatial, shape, rng)
    if not rotates and not scales and deformation is None:
        return None
    along_image = spatial.scale_along == "image"
    matrix = affine_matrix(angles if rotates else [0.0] * d, drawn if scales else [1.0] * d, scale_image_axes=along_image)
    return Placement(matrix, deformation)


def _draw_scales(spatial: Spatial, d: int, rng: np.random.Generator) -> list[float]:
    def one() -> float:
        return around_one(rng, *spatial.scale) if spatial.scale_around_one else rng.uniform(*spatial.scale)

    if spatial.scale_axis_probability and rng.random() < spatial.scale_axis_probability:
        return [one() for _ in range(d)]
    return [one()] * d


def _draw_deformation(spatial: Spatial, shape: Sequence[int], rng: np.random.Generator) -> Deformation | None:
    if not spatial.elastic_probability or rng.random() >= spatial.elastic_probability:
        return None
    if spatial.elastic_scale is not None:
        return by_scale(rng, spatial.elastic_scale, shape)
    flat = len(shape) == 2 and spatial.elastic_alpha_2d is not None
    alpha = spatial.elastic_alpha_2d if flat else spatial.elastic_alpha
    assert alpha is not None
    return by_strength(rng, alpha, spatial.elastic_sigma, shape)


def affine_matrix(angles: Sequence[float], scales: Sequence[float], *, scale_image_axes: bool = False) -> np.ndarray:
    """Rotation times scaling, acting on column vectors in the order of the array's axes: (2, 2) or (3, 3).

    Scales are along the patch's axes, or along the image's: before or after the rotation.
    """
    rotation = _rotation(angles, len(scales))
    return np.diag(scales) @ rotation if scale_image_axes else rotation @ np.diag(scales)


def _rotation(angles: Sequence[float], dimensions: int) -> np.ndarray:
    if dimensions == 2:
        sine, cosine = math.sin(angles[-1]), math.cos(angles[-1])
        return np.array([[cosine, -sine], [sine, cosine]])
    rotations = []
    for (a, b), angle in zip([(1, 2), (2, 0), (0, 1)], angles, strict=True):
        matrix = np.eye(3)
        sine, cosine = math.sin(angle), math.cos(angle)
        matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = cosine, -sine, sine, cosine
        rotations.append(matrix)
    about_first, about_second, about_third = rotations
    return np.asarray(about_third @ about_second @ about_first)


STREAM = "augmentation"
"""Of a sample's key."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What one sample has drawn of its augmentation before it is read; `rng` draws what is left, once."""

    placement: Placement | None
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class Placements:
    """What each sample of an augmentation draws, by its key.

    Args:
        spatial: what to draw from.
        rotation: in ± radians.
        patch_size: what the network sees.
        initial_patch_size: what is cut out for it.
        dummy_2d: whether slices are transformed each for itself.
    """

    spatial: Spatial
    rotation: float
    patch_size: tuple[int, ...]
    initial_patch_size: tuple[int, ...]
    dummy_2d: bool

    @property
    def shrinks(self) -> bool:
        """Whether sampling gives the same numbers, to the last bit, from a part of the volume."""
        return self.spatial.image_order == 1 and len(self.patch_size) == 3 and not self.dummy_2d

    def drawn(self, rng: np.random.Generator) -> Placement | None:
        """The next sample's; None: it stays as it is."""
        return draw(self.spatial, self.rotation, self.patch_size, self.dummy_2d, rng) if self.spatial.active else None

    def begun(self, rng: np.random.Generator) -> Begun:
        """A sample's placement, and the generator of `STREAM` that its other numbers come from too."""
        return Begun(self.drawn(rng), rng)

    def box(self, placement: Placement | None) -> tuple[slice, ...] | None:
        """The part of what is cut out for it that a sample needs; None: its middle, as it is."""
        if placement is None:
            return None
        if self.spatial.image_order == 3:  # a spline is made of all voxels
            return tuple(slice(0, size) for size in self.initial_patch_size)
        flat = int(self.dummy_2d)
        found = reach(placement, self.patch_size[flat:], self.initial_patch_size[flat:])
        return (*(slice(0, size) for size in self.initial_patch_size[:flat]), *found)


BEYOND = 2
"""Voxels more than an exact calculation asks for, on each side: sampling counts in float32."""


def reach(placement: Placement, patch_size: Sequence[int], initial: Sequence[int]) -> tuple[slice, ...]:
    """The part of what is cut out for a patch that linear sampling looks at.

    Args:
        placement: of the sample; a deformation may look anywhere.
        patch_size: of the output, as many axes as the matrix has.
        initial: of what is cut out, likewise; both have the same centre.
    """
    if placement.deformation is not None:
        return tuple(slice(0, size) for size in initial)
    corners = np.array(list(itertools.product(*[((1 - n) / 2, (n - 1) / 2) for n in patch_size]))) @ placement.matrix.T
    found = []
    for size, low, high in zip(initial, corners.min(0), corners.max(0), strict=True):
        middle = (size - 1) / 2
        first, last = math.floor(middle + low) - BEYOND, math.floor(middle + high) + 2 + BEYOND
        found.append(slice(max(0, first), min(size, last)))
    return tuple(found)
