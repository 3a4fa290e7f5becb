"""Rotation, scaling and elastic deformation: how often and how far, and what one sample draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from nnunet_trainer.extensions import Range

from ..interpolation.sampling_grid import affine_matrix
from .elastic import Deformation, by_scale, by_strength
from .intensity import around_one
from .parameter_ranges import AboveZero, FromZero, Probability, Share

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
