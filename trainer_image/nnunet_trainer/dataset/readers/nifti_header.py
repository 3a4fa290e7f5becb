"""Headers of NIfTI-1, NIfTI-2 and Analyze files, and the voxels behind them as they are stored.

NIfTI's own library, which ITK reads with, hides both: voxels that are NaN or infinite become 0, a pixdim of 0 becomes 1, and what a
truncated file lacks is left undefined.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .detached import PACKED_PAIRS, PAIRS, data_files

MAGIC = b"\x1f\x8b"
"""A gzip file begins with it."""
LENGTH = 544
"""Bytes of a file among which its header is."""
FLOATS = {16: "f4", 64: "f8"}
SINGLE = (".nii", ".nii.gz")
LAYOUTS = (
    (348, "8h@40", "h@70", "h@72", "8f@76", "f@108"),
    (540, "8q@16", "h@12", "h@14", "8d@104", "q@168"),
)
"""Of both versions: length, then format and place of dim, datatype, bitpix, pixdim and vox_offset (nifti1.h, nifti2.h)."""


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """What a header says of its voxels.

    Attributes:
        order: `<` or `>`, of the bytes of a number.
        sizes: along x, y, z and further axes, as many as the image has.
        datatype: a code of nifti1.h.
        bits: a voxel.
        pixdim: along x, y, z, as it stands there.
        offset: of the first voxel, in bytes.
    """

    order: str
    sizes: tuple[int, ...]
    datatype: int
    bits: int
    pixdim: tuple[float, ...]
    offset: int

    @classmethod
    def parse(cls, head: bytes) -> NiftiHeader | None:
        """From the first `LENGTH` bytes of an unpacked file; None for what is none."""
        for order in "<>":
            for length, dim, datatype, bits, pixdim, offset in LAYOUTS:
                if len(head) < length or struct.unpack_from(order + "i", head)[0] != length:
                    continue
                rank, *sizes = _at(order, dim, head)
                begin = _at(order, offset, head)[0]
                return cls(
                    order=order,
                    sizes=tuple(sizes[: max(0, min(7, rank))]),
                    datatype=_at(order, datatype, head)[0],
                    bits=_at(order, bits, head)[0],
                    pixdim=_at(order, pixdim, head)[1:4],
                    offset=int(begin) if math.isfinite(begin) else 0,
                )
        return None

    @property
    def promised(self) -> int:
        """Bytes as far as the end of the voxels."""
        return self.offset + math.prod(self.sizes) * self.bits // 8

    @property
    def floating(self) -> np.dtype[Any] | None:
        """The type of a voxel that can be NaN or infinite, or None."""
        kind = FLOATS.get(self.datatype)
        return np.dtype(self.order + kind) if kind else None


def is_nifti(path: Path) -> bool:
    """Whether a file's name is one that NIfTI's library reads, half of a pair included."""
    return path.name.lower().endswith((*SINGLE, *PAIRS, *PACKED_PAIRS))


def header_of(path: Path) -> NiftiHeader | None:
    """The header of an image, packed or not, in the file itself or in its pair's other half; None where there is none."""
    if not is_nifti(path):
        return None
    try:
        with unpacked(_halves(path)[0]) as file:
            return NiftiHeader.parse(file.read(LENGTH))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return None


def floating_values(path: Path, most: int) -> Iterator[np.ndarray]:
    """The voxels of an image of floating point numbers as they are stored, x fastest, `most` of them at a time; else nothing."""
    header = header_of(path)
    if header is None or header.floating is None:
        return
    left = math.prod(header.sizes) * header.floating.itemsize
    with unpacked(_halves(path)[1]) as file:
        file.seek(header.offset)
        while left > 0 and (chunk := file.read(min(most * header.floating.itemsize, left))):
            left -= len(chunk)
            yield np.frombuffer(chunk[: len(chunk) // header.floating.itemsize * header.floating.itemsize], header.floating)


def floating_voxels(path: Path) -> np.ndarray | None:
    """The voxels (channels, z, y, x) of an image of floating point numbers as they are stored; None for any other.

    Raises:
        ValueError: fewer voxels than the header promises.
    """
    header = header_of(path)
    if header is None or header.floating is None:
        return None
    sizes = (*(max(1, size) for size in header.sizes), 1, 1, 1)
    with unpacked(_halves(path)[1]) as file:
        file.seek(header.offset)
        content = file.read(math.prod(sizes) * header.floating.itemsize)
    return np.frombuffer(content, header.floating, math.prod(sizes)).reshape(-1, *sizes[2::-1])


def unpacked(path: Path) -> BinaryIO:
    """A file opened for reading, whether or not it is packed by gzip, whatever its name."""
    with path.open("rb") as file:
        packed = file.read(len(MAGIC)) == MAGIC
    return gzip.open(path) if packed else path.open("rb")  # type: ignore[return-value]


def _halves(path: Path) -> tuple[Path, Path]:
    """The files that hold header and voxels: of a pair two."""
    name = path.name.lower()
    if name.endswith(SINGLE):
        return path, path
    other = data_files(path)[0]
    return (path, other) if name.endswith((".hdr", ".hdr.gz")) else (other, path)


def _at(order: str, field: str, head: bytes) -> tuple[Any, ...]:
    kind, _, place = field.partition("@")
    return struct.unpack_from(order + kind, head, int(place))
