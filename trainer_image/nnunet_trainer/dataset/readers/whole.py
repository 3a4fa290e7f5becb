"""Whether a file holds all the voxels that its header promises, in the formats where ITK reads what there is and says nothing."""

from __future__ import annotations

import math
import struct
from pathlib import Path

from .detached import data_files
from .gzipped import MAGIC, check_nifti, promised

GIPL_HEADER = 256
GIPL_BYTES = {7: 1, 8: 1, 15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8}
"""Bytes a voxel of GIPL's pixel types."""


def check_whole(path: Path) -> None:
    """Raise ValueError for a NIfTI or GIPL file that is truncated; other formats say so themselves."""
    name = path.name.lower()
    if name.endswith(".nii.gz"):
        check_nifti(path)
    elif name.endswith(".nii"):
        _check(path, path)
    elif name.endswith(".hdr"):
        _check(path, data_files(path)[0])
    elif name.endswith(".img"):
        _check(data_files(path)[0], path)
    elif name.endswith(".gipl"):
        _check_gipl(path)


def _check(header: Path, voxels: Path) -> None:
    with header.open("rb") as file:
        expected = promised(file.read(544))
    with voxels.open("rb") as file:
        packed = file.read(2) == MAGIC
    size = voxels.stat().st_size
    if expected and not packed and size < expected:
        raise ValueError(f"truncated: {voxels.name} has {size} bytes, the header promises {expected}")


def _check_gipl(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(GIPL_HEADER)
    if len(header) < GIPL_HEADER:
        raise ValueError(f"truncated: {len(header)} bytes, a header has {GIPL_HEADER}")
    *dims, kind = struct.unpack_from(">5H", header)
    expected = GIPL_HEADER + math.prod(max(1, size) for size in dims) * GIPL_BYTES.get(kind, 0)
    size = path.stat().st_size
    if size < expected:
        raise ValueError(f"truncated: {size} bytes, its header promises {expected}")
