"""Whether a .nii.gz holds all that its header promises.

ITK reads what there is of a truncated file, leaves the rest undefined, and says nothing.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

CHUNK = 1 << 20


def check_nifti(path: Path, *, thorough: bool = False) -> None:
    """Raise ValueError for a gzipped NIfTI that is truncated or damaged.

    A gzip file ends with the length of what it holds. Where that length fits the header, the file is taken for whole; otherwise,
    or when `thorough`, all of it is decompressed and its checksum compared.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            raise ValueError("not a gzip file")
        file.seek(max(0, size - 4))
        stored = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
    try:
        with gzip.open(path) as stream:
            expected = _promised(stream.read(544))
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error) as error:
        raise ValueError("truncated or damaged gzip file") from error
    if not thorough and stored == expected % (1 << 32):
        return
    length = _length(path)
    if length < expected:
        raise ValueError(f"truncated: {length} bytes of image, its header promises {expected}")


def _promised(header: bytes) -> int:
    """Bytes of header and voxels, from a NIfTI-1 or NIfTI-2 header; 0 when it is neither."""
    for order in "<>":
        if struct.unpack_from(order + "i", header)[0] == 348:
            rank, *dims = struct.unpack_from(order + "8h", header, 40)
            bits, offset = struct.unpack_from(order + "h", header, 72)[0], struct.unpack_from(order + "f", header, 108)[0]
            return int(offset) + math.prod(dims[: max(0, rank)]) * bits // 8
        if struct.unpack_from(order + "i", header)[0] == 540:
            rank, *dims = struct.unpack_from(order + "8q", header, 16)
            bits, offset = struct.unpack_from(order + "h", header, 14)[0], struct.unpack_from(order + "q", header, 168)[0]
            return int(offset) + math.prod(dims[: max(0, rank)]) * bits // 8
    return 0


def _length(path: Path) -> int:
    length = 0
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(CHUNK):
                length += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"truncated or damaged gzip file after {length} bytes") from error
    return length
