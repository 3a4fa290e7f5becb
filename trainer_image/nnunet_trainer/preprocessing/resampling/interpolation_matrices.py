"""Spline interpolation along one axis, as a matrix.

As skimage's `resize(mode="edge", anti_aliasing=False)` it is linear in the voxels and separable: along each axis it is one matrix,
which is made of the unit vectors' own interpolations, so that the product equals the original to rounding.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

BAND = 32  # output samples that are made at once
NEGLIGIBLE = 1e-18  # a weight that no float64 sum beside weights of about one can feel
PADDING = 12  # what scipy puts around an image, in mode "nearest", before it filters it


@lru_cache(maxsize=64)
def resize_matrix(size: int, new_size: int, order: int) -> np.ndarray:
    """(new_size, size) float64: skimage's `resize` of one axis."""
    matrix = _cubic_matrix(size, new_size) if order == 3 else _matrix_of_units(size, new_size, order)
    matrix.setflags(write=False)
    return matrix


def _matrix_of_units(size: int, new_size: int, order: int) -> np.ndarray:
    """Column by column: how each unit vector is interpolated."""
    from scipy.ndimage import zoom

    units = np.eye(size)
    return np.stack([zoom(unit, 1 / (size / new_size), order=order, mode="nearest", grid_mode=True) for unit in units], axis=1)


def _cubic_matrix(size: int, new_size: int) -> np.ndarray:
    """All columns at once: scipy's prefilter of the padded identity, then the four weights of the cubic B-spline."""
    from scipy.ndimage import spline_filter1d

    coefficients = spline_filter1d(np.pad(np.eye(size), ((PADDING, PADDING), (0, 0)), mode="edge"), 3, axis=0, mode="nearest")
    place = (np.arange(new_size) + 0.5) * (size / new_size) - 0.5 + PADDING
    first = np.floor(place)
    t, u = place - first, 1 - (place - first)
    weights = [u**3 / 6, (t * t * (t - 2) * 3 + 4) / 6, (u * u * (u - 2) * 3 + 4) / 6]
    weights.append(1 - sum(weights))
    index = first.astype(np.intp) - 1
    return sum((w[:, None] * coefficients[index + k] for k, w in enumerate(weights)), np.zeros((new_size, size)))


@lru_cache(maxsize=64)
def coordinate_matrix(size: int, new_size: int, order: int) -> np.ndarray:
    """(new_size, size) float64: `map_coordinates` along one axis, as nnU-Net uses it for the separate axis."""
    from scipy.ndimage import map_coordinates

    places = float(size) / new_size * (np.arange(new_size) + 0.5) - 0.5
    matrix = np.empty((new_size, size))
    for column in range(size):
        unit = np.zeros(size)
        unit[column] = 1
        matrix[:, column] = map_coordinates(unit, places[None], order=order, mode="nearest")
    matrix.setflags(write=False)
    return matrix


def nearest_indices(size: int, new_size: int) -> np.ndarray:
    """The input index of each output index along an axis that is resampled with order 0 by `map_coordinates`."""
    places = float(size) / new_size * (np.arange(new_size) + 0.5) - 0.5
    return np.floor(np.clip(places, 0, size - 1) + 0.5).astype(np.intp)


Band = tuple[slice, slice, np.ndarray]


@lru_cache(maxsize=64)
def resize_bands(size: int, new_size: int, order: int) -> tuple[Band, ...]:
    """`resize_matrix` without its zeros: (rows, columns, that part) a block of rows. A spline's weights fade with the distance."""
    matrix, bands = resize_matrix(size, new_size, order), list[Band]()
    for start in range(0, new_size, BAND):
        rows = slice(start, min(start + BAND, new_size))
        felt = np.flatnonzero((np.abs(matrix[rows]) > NEGLIGIBLE).any(0))
        columns = slice(int(felt[0]), int(felt[-1]) + 1)
        bands.append((rows, columns, np.ascontiguousarray(matrix[rows, columns])))
    return tuple(bands)
