"""Whether a .nii.gz holds all that its header promises.

ITK reads what there is of a truncated file, leaves the rest undefined, and says nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import struct
import zlib
from pathlib import Path

from .nifti_header import LENGTH, MAGIC, NiftiHeader

CHUNK = 1 << 20


def check_nifti(path: Path, *, thorough: bool = False) -> None:
    """Raise ValueError for a gzipped NIfTI that is truncated or damaged.

    A gzip file ends with the length of what it holds. Where that length fits the header, the file is taken for whole; otherwise,
    or when `thorough`, all of it is decompressed and its checksum compared.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(LENGTH)
        if head[:2] != MAGIC:
            # NIfTI's library also reads what is not packed, whatever its name.
            header = NiftiHeader.parse(head)
            if header is None:
                raise ValueError("not a gzip file")
            if size < header.promised:
                raise ValueError(f"truncated: {size} bytes, its header promises {header.promised}")
            return
        file.seek(max(0, size - 4))
        stored = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
    try:
        with gzip.open(path) as stream:
            header = NiftiHeader.parse(stream.read(LENGTH))
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error) as error:
        raise ValueError(
            f"truncated or damaged: a gzip file of {size} bytes that cannot be unpacked as far as its header"
        ) from error
    expected = header.promised if header else 0
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
