"""Resampling as a configuration of plans asks for it: by which function, and to which spacing and shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnunet_trainer.contract.control_groups import memory_limit
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.planning.plans import Configuration
from nnunet_trainer.planning.plans.preprocessing_steps import keeps_first_axis

from . import resampling

SPACING = "Correct the spacing in the image's header: it is in mm."


def resampled(
    configuration: Configuration,
    what: str,
    data: np.ndarray,
    shape: Sequence[int],
    spacing: Sequence[float],
    new_spacing: Sequence[float],
) -> np.ndarray:
    """An array (c, z, y, x) in another shape, as the configuration resamples data, seg or probabilities."""
    return resampling.by_name(*resampling_of(configuration, what))(data, shape, spacing, new_spacing)


def resampling_of(configuration: Configuration, what: str) -> tuple[str, dict[str, Any]]:
    """The resampling function that a configuration names for data, seg or probabilities, and its arguments."""
    content = configuration.content
    name = content.get(f"resampling_fn_{what}", "resample_data_or_seg_to_shape")
    return name, content.get(f"resampling_fn_{what}_kwargs", {})


def target_spacing(configuration: Configuration, spacing: Sequence[float]) -> list[float]:
    """The configuration's spacing along z, y, x; in 2-D, and with keepFirstAxis, the case's own along the first axis."""
    target = configuration.spacing
    if len(target) < len(spacing):
        return [spacing[0], *target]
    return [spacing[0], *target[1:]] if keeps_first_axis(configuration.content) else target


def resampled_shape(shape: tuple[int, ...], spacing: Sequence[float], target: Sequence[float]) -> tuple[int, ...]:
    """Of an image (c, z, y, x) at the target's spacing.

    Raises:
        BadData: it has no voxel, or more than there is memory for.
    """
    new = resampling.compute_new_shape(shape[1:], spacing, target)
    image = f"an image of {'×'.join(map(str, shape[1:]))} voxels of {_millimetres(spacing)}"
    there = f"at {_millimetres(target)}, the configuration's spacing"
    if min(new) < 1:
        raise BadData("InvalidCases", f"Of {image}, nothing is left {there}.", hint=SPACING)
    needed, limit = 4 * shape[0] * (math.prod(shape[1:]) + math.prod(new)), memory_limit()
    if needed > limit:
        room = f"{needed / 2**30:.3g} GiB of memory, and {limit / 2**30:.3g} are there"
        message = f"Of {image}, {'×'.join(map(str, new))} are made {there}: {room}."
        raise BadData("InvalidCases", message, hint=f"{SPACING} If it is right, the image needs more memory.")
    return new


def _millimetres(spacing: Sequence[float]) -> str:
    return "×".join(f"{size:g}" for size in spacing) + " mm"
