"""How much memory reading a case will take, from the headers of its files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from .raw import Case, files_of
from .readers import READERS, Header, Reader, by_file_ending, by_name

PROCESS = 150 << 20
"""What a worker takes before it has read anything."""
PER_VOXEL, PER_CHANNEL_VOXEL = 12, 8
"""Bytes for each voxel: label, mask, regions; for each channel the file's own and the float32 copy."""
PER_STORED_BYTE = 40
"""Where no header can be read."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What the headers of a case's images say: channels in all, shape (z, y, x) and spacing of one."""

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
    """The extent of a case, by a reader or by any that reads such files; None where a header cannot be read."""
    first = case.images[0]
    ending = ".nii.gz" if first.name.endswith(".nii.gz") else first.suffix
    readers = [by_name(reader)] if reader in READERS else by_file_ending(ending)
    for each in readers:
        headers = [_header(each, path) for path in case.images]
        known = [header for header in headers if header is not None]
        if len(known) == len(headers):
            return Extent(sum(header.channels for header in known), known[0].shape, known[0].spacing)
    return None


def _header(reader: Reader, path: Path) -> Header | None:
    try:
        return reader.header(path)
    except Exception:  # what is wrong with the file is said when it is read
        return None


def stored_estimate(case: Case, reader: str | None = None) -> int:
    """Bytes that a case will take at most, by the size of its files."""
    return PROCESS + PER_STORED_BYTE * sum(path.stat().st_size for path in files_of(case, reader) if path.exists())


def reading_estimate(case: Case, reader: str | None = None) -> int:
    """Bytes that a process takes at most, roughly, that reads a case and looks at its voxels."""
    known = extent(case, reader)
    return stored_estimate(case, reader) if known is None else PROCESS + known.reading
