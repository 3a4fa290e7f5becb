"""How much memory reading a case will take, from the headers of its files."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .raw import Case
from .readers import READERS, by_file_ending

PROCESS = 150 << 20
"""What a worker takes before it has read anything."""
PER_VOXEL, PER_CHANNEL_VOXEL = 12, 8
"""Bytes for each voxel: label, mask, regions; for each channel the file's own and the float32 copy."""
PER_STORED_BYTE = 40
"""Where no header can be read."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What the header of a case's first image says: channels in all, shape (z, y, x) and spacing of one."""

    channels: int
    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    @property
    def voxels(self) -> int:
        """Of one channel."""
        return math.prod(self.shape)

    @property
    def reading(self) -> int:
        """Bytes that reading and cropping take."""
        return self.voxels * (PER_VOXEL + PER_CHANNEL_VOXEL * self.channels)


def extent(case: Case, reader: str | None = None) -> Extent | None:
    """The extent of a case, by a reader or by any that reads such files; None where no header can be read."""
    first = case.images[0]
    if reader in READERS:
        readers = [READERS[reader]]
    else:
        readers = by_file_ending(".nii.gz" if first.name.endswith(".nii.gz") else first.suffix)
    header = next((found for each in readers if (found := each.header(first)) is not None), None)
    if header is None:
        return None
    (channels, *shape), spacing = header
    return Extent(channels * len(case.images), tuple(shape), tuple(spacing))


def stored_estimate(case: Case) -> int:
    """Bytes that a case will take at most, by the size of its files."""
    files = [*case.images, *([case.label] if case.label else [])]
    return PROCESS + PER_STORED_BYTE * sum(path.stat().st_size for path in files if path.exists())


def reading_estimate(case: Case, reader: str | None = None) -> int:
    """Bytes that a process takes at most, roughly, that reads a case and looks at its voxels."""
    known = extent(case, reader)
    return stored_estimate(case) if known is None else PROCESS + known.reading
