"""How much memory a case will take, from the headers of its files, so that large ones are worked on alone."""

from __future__ import annotations

import math

from nnunet_trainer.dataset.raw import Case
from nnunet_trainer.dataset.readers import READERS, by_file_ending
from nnunet_trainer.planning.plans import Configuration

from .resampling import compute_new_shape

PROCESS = 150 << 20
"""What a worker takes before it has read anything."""
PER_VOXEL, PER_CHANNEL_VOXEL = 24, 8
"""Bytes for each voxel read: label, mask, regions; for each channel the file's own and the float32 copy."""
PER_NEW_VOXEL, PER_NEW_CHANNEL_VOXEL = 24, 8
"""Bytes for each voxel written: float64 planes of one channel, label scores; for each channel the result and its packing."""
PER_STORED_BYTE = 40
"""Where no header can be read."""
GROWTH = 2
"""How many times more voxels resampling makes when the plans are not known."""


def memory_estimate(case: Case, configuration: Configuration | None = None) -> int:
    """Bytes that a case will take at most, roughly, in the process that preprocesses it (also for its fingerprint)."""
    known = _voxels(case, configuration)
    if known is None:
        files = [*case.images, *([case.label] if case.label else [])]
        return PROCESS + PER_STORED_BYTE * sum(path.stat().st_size for path in files if path.exists())
    channels, voxels, new_voxels = known
    read = voxels * (PER_VOXEL + PER_CHANNEL_VOXEL * channels)
    return PROCESS + read + new_voxels * (PER_NEW_VOXEL + PER_NEW_CHANNEL_VOXEL * channels)


def _voxels(case: Case, configuration: Configuration | None) -> tuple[int, int, int] | None:
    """Channels, voxels of one, and of one after resampling; None where no header can be read."""
    first = case.images[0]
    if configuration is not None:
        readers = [READERS[configuration.plans.image_reader_writer]] if configuration.plans.image_reader_writer in READERS else []
    else:
        ending = next((e for e in (".nii.gz",) if first.name.endswith(e)), first.suffix)
        readers = by_file_ending(ending)
    header = next((found for reader in readers if (found := reader.header(first)) is not None), None)
    if header is None:
        return None
    shape, spacing = header
    voxels = math.prod(shape[1:])
    if configuration is None:
        return shape[0] * len(case.images), voxels, GROWTH * voxels
    forward = configuration.plans.transpose_forward
    old = [spacing[axis] for axis in forward]
    target = configuration.spacing
    new = compute_new_shape([shape[1:][axis] for axis in forward], old, [old[0], *target] if len(target) == 2 else target)
    return shape[0] * len(case.images), voxels, math.prod(new)
