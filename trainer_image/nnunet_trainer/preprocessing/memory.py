"""How much memory preprocessing a case will take, from the headers of its files, so that large ones are worked on alone."""

from __future__ import annotations

import math

from nnunet_trainer.dataset.memory import PROCESS, extent, stored_estimate
from nnunet_trainer.dataset.raw import Case
from nnunet_trainer.dataset.values import spacing_fault
from nnunet_trainer.planning.plans import Configuration

from .pipeline import bytes_per_voxel
from .resampling.by_plans import target_spacing
from .resampling.resampling import compute_new_shape

SEGMENTATION, IMAGE = 2, 4
"""Bytes a voxel: int16, float32."""
EXACT = 8
"""Bytes a voxel of what is worked on: float64 planes, places."""
PLANES = 128
"""Planes that resampling holds in float64."""
AROUND = 64 << 20
"""Slabs that are worked on, and what is being packed."""


def memory_estimate(case: Case, configuration: Configuration) -> int:
    """Bytes that a process takes at most, roughly, that preprocesses a case."""
    plans = configuration.plans
    known = extent(case, plans.image_reader_writer)
    if known is None or spacing_fault(known.spacing):
        return stored_estimate(case, plans.image_reader_writer)
    old, new = known.shape, _new_shape(configuration, known.shape, known.spacing)
    before = math.prod(old) * (SEGMENTATION + IMAGE * known.channels)
    after = math.prod(new) * (SEGMENTATION + IMAGE * known.channels)
    window = EXACT * min(PLANES, old[plans.transpose_forward[0]]) * max(math.prod(new[1:]), math.prod(old) // max(1, min(old)))
    locating = after + EXACT * math.prod(new)
    further = bytes_per_voxel(configuration) * max(math.prod(old), math.prod(new))
    return PROCESS + AROUND + max(known.reading, before + after + window, locating) + further


def _new_shape(configuration: Configuration, shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[int, ...]:
    """After transposing and resampling."""
    forward = configuration.plans.transpose_forward
    old = [spacing[axis] for axis in forward]
    return compute_new_shape([shape[axis] for axis in forward], old, target_spacing(configuration, old))
