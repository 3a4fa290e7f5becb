"""Resampling to another shape, by the names that plans hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration, unknown_name
from nnunet_trainer.extensions import Component, Range, Registry
from nnunet_trainer.extensions.calls import guarded

from .anisotropy import ANISOTROPY, separate_axis
from .interpolation_matrices import BAND, Band, coordinate_matrix, nearest_indices, resize_bands
from .label_resampling import resize_labels, resize_labels_along

CHUNK = 1 << 22

Order = Annotated[int, Range(0, 5)]
Threshold = Annotated[float, Range(0, low_open=True)]

RESAMPLINGS: Registry[Callable[..., np.ndarray]] = Registry("resampling function")
"""Functions `(data (c, z, y, x), new_shape, current_spacing, new_spacing, **arguments of the plans) -> (c, *new_shape)`."""


def compute_new_shape(shape: Sequence[int], spacing: Sequence[float], new_spacing: Sequence[float]) -> tuple[int, ...]:
    """The shape at another spacing, each axis rounded half to even."""
    return tuple(round(float(old / new * size)) for old, new, size in zip(spacing, new_spacing, shape, strict=True))


@RESAMPLINGS.register("resample_data_or_seg_to_shape")
def resample_data_or_seg_to_shape(
    data: np.ndarray,
    new_shape: Sequence[int],
    current_spacing: Sequence[float],
    new_spacing: Sequence[float],
    is_seg: bool = False,
    *,
    order: Order = 3,
    order_z: Order = 0,
    force_separate_z: bool | None = False,
    separate_z_anisotropy_threshold: Threshold = ANISOTROPY,
) -> np.ndarray:
    """nnU-Net's default resampling: splines, an axis of low resolution by itself.

    Args:
        data: (c, z, y, x); images or logits, or a segmentation with `is_seg`.
        new_shape: (z, y, x).
        current_spacing: of the data, along z, y, x.
        new_spacing: of the result.
        order: of the spline, in the plane where one axis is separate.
        order_z: of the spline along that axis.
        force_separate_z: None lets the spacings decide.

    Returns:
        (c, *new_shape) in the type of the data; the data itself where the shape is the same.
    """
    new_shape = tuple(int(size) for size in new_shape)
    if data.shape[1:] == new_shape:
        return data
    axis = separate_axis(current_spacing, new_spacing, force_separate_z, separate_z_anisotropy_threshold)
    result = np.empty((len(data), *new_shape), data.dtype)
    for image, target in zip(data, result, strict=True):
        if is_seg:
            target[...] = _resize_seg(image, new_shape, axis, order, order_z)
        elif axis is None:
            resize(image, target, order)
        else:
            _resize_separately(image, target, axis, order, order_z)
    return result


@RESAMPLINGS.register("no_resampling_hack")
def no_resampling_hack(
    data: np.ndarray, new_shape: Sequence[int], current_spacing: Sequence[float], new_spacing: Sequence[float]
) -> np.ndarray:
    """Leave the data in its shape."""
    return data


@RESAMPLINGS.register("resample_torch_fornnunet")
def _resample_torch_fornnunet(
    *arguments: Any,
    memefficient_seg_resampling: bool = False,
    force_separate_z: bool | None = None,
    separate_z_anisotropy_threshold: Threshold = ANISOTROPY,
    mode: str = "linear",
    aniso_axis_mode: str = "nearest-exact",
    **options: Any,
) -> np.ndarray:
    """torch's interpolation, an axis of low resolution by itself."""
    return _by_torch("resample_torch_fornnunet")(
        *arguments,
        memefficient_seg_resampling=memefficient_seg_resampling,
        force_separate_z=force_separate_z,
        separate_z_anisotropy_threshold=separate_z_anisotropy_threshold,
        mode=mode,
        aniso_axis_mode=aniso_axis_mode,
        **options,
    )


BY_TORCH = ("resample_torch_fornnunet",)
"""Of `torch_resampling`, which is loaded when plans name them."""


def by_name(name: str, arguments: dict[str, Any]) -> Callable[..., np.ndarray]:
    """The function that plans name, with the plans' own arguments.

    Raises:
        BadConfiguration: no such function, or an argument that it does not take.
    """
    if name not in RESAMPLINGS:
        raise BadConfiguration("InvalidPlans", unknown_name("resampling function", name, RESAMPLINGS))
    import inspect

    component = RESAMPLINGS[name]
    chosen = _by_torch(name) if name in BY_TORCH else component.make
    known = inspect.signature(chosen).parameters
    for argument in arguments:
        if argument not in known:
            raise BadConfiguration("InvalidPlans", f"The resampling function {name} takes no argument {argument!r}.")

    def function(data: np.ndarray, new_shape: Sequence[int], old: Sequence[float], new: Sequence[float]) -> np.ndarray:
        if component.plugin is None:
            return chosen(data, new_shape, old, new, **arguments)
        what = f"The resampling function {name} ({component.place})"
        result = guarded(what, chosen, data, new_shape, old, new, **arguments)
        return _checked(component, result, (len(data), *map(int, new_shape)))

    return function


def _checked(component: Component[Any], result: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What a plug-in's function has made, once it is seen to be an array of that shape."""
    found = np.shape(result)
    if found != shape:
        raise BadConfiguration(
            "PluginResult",
            f"The resampling function {component.name} ({component.place}) made an array of shape {found}; {shape} was expected.",
            hint="It answers (channels, *new_shape).",
        )
    if not np.isfinite(result).all():
        raise BadConfiguration(
            "PluginResult", f"The resampling function {component.name} ({component.place}) made NaN or infinity."
        )
    return np.asarray(result)


def _by_torch(name: str) -> Callable[..., np.ndarray]:
    # torch only where plans name it: others preprocess without.
    from . import torch_resampling

    return getattr(torch_resampling, name)


def resize_plane(down: tuple[Band, ...], across: tuple[Band, ...], plane: np.ndarray) -> np.ndarray:
    """(y, x) float64 of one slice."""
    exact = plane.astype(np.float64)
    shorter = np.empty((down[-1][0].stop, exact.shape[1]))
    for rows, columns, part in down:
        np.matmul(part, exact[columns], out=shorter[rows])
    result = np.empty((len(shorter), across[-1][0].stop))
    for rows, columns, part in across:
        np.matmul(shorter[:, columns], part.T, out=result[:, rows])
    return result


def resize(image: np.ndarray, target: np.ndarray, order: int) -> None:
    """Write the spline interpolation of (z, y, x) into `target`, clipped to the image's own range."""
    low, high = image.min(), image.max()
    if low == high:
        target[...] = low
        return
    along, down, across = (resize_bands(image.shape[a], target.shape[a], order) for a in range(3))
    if target.shape[0] < image.shape[0]:
        for rows, columns, part in along:
            shrink(image[columns], part, down, across, (low, high), target[rows])
        return
    if target.shape[0] == image.shape[0]:
        for z in range(len(target)):
            np.clip(resize_plane(down, across, image[z]), low, high, out=target[z], casting="same_kind")
        return
    # Only the planes that a band of the result needs are held: neighbouring bands share some.
    held: dict[int, np.ndarray] = {}
    widest = max(part.shape[1] for _, _, part in along)
    for rows, columns, part in along:
        held = {z: plane for z, plane in held.items() if z >= columns.start}
        for z in range(columns.start, columns.stop):
            if z not in held:
                held[z] = resize_plane(down, across, image[z])
        grow([held[z] for z in range(columns.start, columns.stop)], part, widest, (low, high), target[rows])


def shrink(
    block: np.ndarray,
    part: np.ndarray,
    down: tuple[Band, ...],
    across: tuple[Band, ...],
    limits: tuple[float, float] | None,
    target: np.ndarray,
) -> None:
    """A band of a result with fewer planes than the image: along z first, so that fewer planes are resized.

    Args:
        block: the planes (z, y, x) that the band is made of.
        part: (planes of the result, planes of the block).
        down: along y.
        across: along x.
        limits: what the result is clipped to; None: it is not.
        target: (planes of the result, y, x).
    """
    planes = np.empty((len(part), *block.shape[1:]))
    height = max(1, CHUNK // (part.shape[1] * block.shape[2]))
    for start in range(0, block.shape[1], height):
        planes[:, start : start + height] = np.tensordot(part, block[:, start : start + height].astype(np.float64), 1)
    for z, plane in enumerate(planes):
        _store(resize_plane(down, across, plane), limits, target[z])


def grow(
    planes: Sequence[np.ndarray], part: np.ndarray, widest: int, limits: tuple[float, float] | None, target: np.ndarray
) -> None:
    """A band of a result with more planes than the image, from planes (y, x) that are resized already.

    Args:
        planes: float64, that the band is made of.
        part: (planes of the result, planes).
        widest: the most planes that a band of this image is made of.
        limits: what the result is clipped to; None: it is not.
        target: (planes of the result, y, x).
    """
    width = max(1, CHUNK // (BAND + widest) // target.shape[2])
    for start in range(0, target.shape[1], width):
        block = np.stack([plane[start : start + width] for plane in planes])
        _store(np.tensordot(part, block, 1), limits, target[:, start : start + width])


def _store(values: np.ndarray, limits: tuple[float, float] | None, target: np.ndarray) -> None:
    if limits is None:
        target[...] = values
    else:
        np.clip(values, *limits, out=target, casting="same_kind")


def _resize_separately(image: np.ndarray, target: np.ndarray, axis: int, order: int, order_z: int) -> None:
    """In the plane by spline, slice by slice (each clipped to its own range), then along `axis`."""
    source, goal = np.moveaxis(image, axis, 0), np.moveaxis(target, axis, 0)
    down, across = (resize_bands(source.shape[a], goal.shape[a], order) for a in (1, 2))
    same_plane = source.shape[1:] == goal.shape[1:]

    def plane(z: int) -> np.ndarray:
        if same_plane and order <= 1:
            return source[z]
        return np.clip(resize_plane(down, across, source[z]), source[z].min(), source[z].max())

    if len(source) == len(goal):
        for z in range(len(goal)):
            goal[z] = plane(z)
    elif order_z == 0:
        last, resized = -1, np.empty(0)
        for z, wanted in enumerate(nearest_indices(len(source), len(goal))):
            if wanted != last:
                last, resized = int(wanted), plane(int(wanted))
            goal[z] = resized
    else:
        planes = np.stack([plane(z) for z in range(len(source))])
        goal[...] = np.tensordot(coordinate_matrix(len(source), len(goal), order_z), planes, 1)


def _resize_seg(image: np.ndarray, new_shape: tuple[int, ...], axis: int | None, order: int, order_z: int) -> np.ndarray:
    if axis is None:
        return resize_labels(image, new_shape, order)
    source = np.moveaxis(image, axis, 0)
    depth = new_shape[axis]
    plane_shape = tuple(size for a, size in enumerate(new_shape) if a != axis)
    if order_z == 0 and depth != len(source):
        chosen, back = np.unique(nearest_indices(len(source), depth), return_inverse=True)
        planes = np.stack([resize_labels(source[z], plane_shape, order) for z in chosen])[back]
    else:
        planes = np.stack([resize_labels(plane, plane_shape, order) for plane in source])
        if depth != len(source):
            planes = resize_labels_along(planes, coordinate_matrix(len(source), depth, order_z))
    return np.moveaxis(planes, 0, axis)
