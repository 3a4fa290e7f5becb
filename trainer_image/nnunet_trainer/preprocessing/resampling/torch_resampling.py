"""Linear resampling by torch, for plans that ask for it (nnU-Net's torchres planners); only these make a worker import torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .anisotropy import ANISOTROPY, separate_axis

SCALE = 1000  # scores are compared as float16: a thousandth is about what they tell apart


def resample_torch_simple(
    data: np.ndarray,
    new_shape: Sequence[int],
    is_seg: bool = False,
    num_threads: int = 4,
    device: Any = "cpu",
    memefficient_seg_resampling: bool = False,
    mode: str = "linear",
) -> np.ndarray:
    """Interpolate (c, z, y, x) or (c, y, x) to another shape.

    Args:
        data: images, or a segmentation with `is_seg`.
        new_shape: without the channels.
        num_threads: at most; never more than this process has.
        device: of torch.
        memefficient_seg_resampling: a label wins where its indicator exceeds one half; elsewhere the result is 0. Otherwise the
            highest indicator wins, the lower label where two are equal.
        mode: of torch's `interpolate`; `linear` is bilinear or trilinear.

    Returns:
        float32 images; a segmentation in the type of the data. The data itself where the shape is the same.
    """
    new_shape = tuple(int(size) for size in new_shape)
    if tuple(data.shape[1:]) == new_shape:
        return data
    if mode == "linear":
        mode = {3: "bilinear", 4: "trilinear"}[data.ndim]
    with torch.no_grad(), _threads(num_threads):
        tensor = torch.from_numpy(np.ascontiguousarray(data)).to(device)
        if not is_seg:
            return functional.interpolate(tensor[None].float(), new_shape, mode=mode)[0].cpu().numpy()
        labels = _vote(tensor, new_shape, mode, by_half=memefficient_seg_resampling)
        return labels.cpu().numpy().astype(data.dtype, copy=False)


def resample_torch_fornnunet(
    data: np.ndarray,
    new_shape: Sequence[int],
    current_spacing: Sequence[float],
    new_spacing: Sequence[float],
    is_seg: bool = False,
    num_threads: int = 4,
    device: Any = "cpu",
    memefficient_seg_resampling: bool = False,
    force_separate_z: bool | None = None,
    separate_z_anisotropy_threshold: float = ANISOTROPY,
    mode: str = "linear",
    aniso_axis_mode: str = "nearest-exact",
) -> np.ndarray:
    """The same for (c, z, y, x), where one axis may be separate: `mode` in its plane first, then `aniso_axis_mode` along it.

    `mode` counts only then, as in nnU-Net: without a separate axis all is linear.
    """
    options = {"is_seg": is_seg, "num_threads": num_threads, "device": device}
    options["memefficient_seg_resampling"] = memefficient_seg_resampling
    axis = separate_axis(current_spacing, new_spacing, force_separate_z, separate_z_anisotropy_threshold)
    if axis is None:
        return resample_torch_simple(data, new_shape, **options)
    planes = np.moveaxis(data, axis + 1, 1)
    plane_shape = [size for a, size in enumerate(new_shape) if a != axis]
    flat = np.ascontiguousarray(planes).reshape(-1, *planes.shape[2:])
    resized = resample_torch_simple(flat, plane_shape, mode=mode, **options).reshape(*planes.shape[:2], *map(int, plane_shape))
    return resample_torch_simple(np.moveaxis(resized, 1, axis + 1), new_shape, mode=aniso_axis_mode, **options)


def _vote(labels: torch.Tensor, new_shape: tuple[int, ...], mode: str, *, by_half: bool) -> torch.Tensor:
    """One label after the other, so that no more than two scores are held."""
    result = torch.zeros((len(labels), *new_shape), dtype=labels.dtype, device=labels.device)
    best: torch.Tensor | None = None
    for label in torch.unique(labels):
        indicator = (labels[None] == label).float()
        if by_half:
            result[functional.interpolate(indicator, new_shape, mode=mode)[0] > 0.5] = label
            continue
        score = functional.interpolate(indicator * SCALE, new_shape, mode=mode)[0].half()
        better = score > (-1 if best is None else best)
        result[better] = label
        best = score if best is None else torch.maximum(best, score)
    return result


@contextmanager
def _threads(most: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, most)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
