"""Whether a .nii.gz holds all that its header promises.

ITK reads what there is of a truncated file, leaves the rest undefined, and says nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

CHUNK = 1 << 20
MAGIC = b"\x1f\x8b"
FLOATS = {16: "f4", 64: "f8"}


def check_nifti(path: Path, *, thorough: bool = False) -> None:
    """Raise ValueError for a gzipped NIfTI that is truncated or damaged.

    A gzip file ends with the length of what it holds. Where that length fits the header, the file is taken for whole; otherwise,
    or when `thorough`, all of it is decompressed and its checksum compared.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(544)
        if head[:2] != MAGIC:
            # NIfTI's library also reads what is not packed, whatever its name.
            expected = promised(head)
            if not expected:
                raise ValueError("not a gzip file")
            if size < expected:
                raise ValueError(f"truncated: {size} bytes, its header promises {expected}")
            return
        file.seek(max(0, size - 4))
        stored = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
    try:
        with gzip.open(path) as stream:
            expected = promised(stream.read(544))
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error) as error:
        raise ValueError(
            f"truncated or damaged: a gzip file of {size} bytes that cannot be unpacked as far as its header"
        ) from error
    if not thorough and stored == expected % (1 << 32):
        return
    try:
        length = _length(path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        could = _unpacked(path)
        if could >= expected:
            raise ValueError("damaged: what it unpacks to has another checksum than what was packed") from error
        raise ValueError(f"truncated or damaged: {could} bytes can be unpacked, its header promises {expected}") from error
    if length < expected:
        raise ValueError(f"truncated: {length} bytes of image, its header promises {expected}")


def floating_voxels(path: Path) -> np.ndarray | None:
    """The voxels (channels, z, y, x) of a NIfTI of floating point numbers, as they stand in the file; None for any other.

    NIfTI's own library, which ITK reads with, turns NaN and infinity into zeros.
    """
    content = path.read_bytes()
    if content[:2] == MAGIC:
        content = gzip.decompress(content)
    for order in "<>":
        if struct.unpack_from(order + "i", content)[0] == 348:
            rank, *dims = struct.unpack_from(order + "8h", content, 40)
            kind, offset = struct.unpack_from(order + "h", content, 70)[0], int(struct.unpack_from(order + "f", content, 108)[0])
            sizes = [max(1, size) for size in dims[: max(3, rank)]]
            if kind in FLOATS and rank >= 3:
                return np.frombuffer(content, order + FLOATS[kind], math.prod(sizes), offset).reshape(-1, *sizes[2::-1])
    return None


def promised(header: bytes) -> int:
    """Bytes of header and voxels, from a NIfTI-1 or NIfTI-2 header; 0 when it is neither."""
    if len(header) < 348:
        return 0
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
    with gzip.open(path) as stream:
        while chunk := stream.read(CHUNK):
            length += len(chunk)
    return length


def _unpacked(path: Path) -> int:
    """How far a damaged file can be unpacked."""
    length = 0
    with gzip.open(path) as stream, contextlib.suppress(EOFError, zlib.error, gzip.BadGzipFile):
        while chunk := stream.read1(4096):
            length += len(chunk)
    return length
